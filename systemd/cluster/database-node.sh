#!/bin/sh
# Settings of one of three machines that hold the database: etcd and Patroni, for the units of Debian's packages
# (etcd-server, patroni, postgresql). The same members, network and secrets on every machine.
#
#   database-node.sh --node db1 --members "db1=10.0.0.1 db2=10.0.0.2 db3=10.0.0.3" --network 10.0.0.0/24 \
#       --secrets SECRETS [--wal-archive /mnt/second-site/wal]
#
# --secrets: a folder with the files `postgres` and `replicator`, a password each. --root: writes below that folder, and
# keeps the data there too.
set -eu

fail() { echo "database-node.sh: $1" >&2; exit 2; }

node= members= network= secrets= wal= root=
while [ $# -gt 0 ]; do
    [ $# -ge 2 ] || fail "$1: has no value"
    case $1 in
        --node) node=$2 ;;
        --members) members=$2 ;;
        --network) network=$2 ;;
        --secrets) secrets=$2 ;;
        --wal-archive) wal=$2 ;;
        --root) root=$2 ;;
        *) fail "$1: is no option; see the head of this file" ;;
    esac
    shift 2
done
for name in node members network secrets; do
    eval "[ -n \"\$$name\" ]" || fail "--$name: is needed"
done
address=
for member in $members; do
    [ "${member%%=*}" = "$node" ] && address=${member#*=}
done
[ -n "$address" ] || fail "--node $node: is not among --members"
[ "$(echo "$members" | wc -w)" -ge 3 ] || fail "--members: two machines cannot outvote one that is lost; name three"
for name in postgres replicator; do
    [ -s "$secrets/$name" ] || fail "$secrets/$name: is missing or empty; put a password there"
    ! grep -q "['\"\\\\]" "$secrets/$name" || fail "$secrets/$name: quotes and backslashes are not taken; choose another password"
done
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1)
[ -n "$bin" ] || fail "PostgreSQL is not installed; apt install postgresql patroni etcd-server"

peers=$(for member in $members; do printf '%s' "${separator:-}${member%%=*}=http://${member#*=}:2380"; separator=,; done)
hosts=$(for member in $members; do printf '%s' "${separator:-}${member#*=}:2379"; separator=,; done)

mkdir -p "$root/etc/default" "$root/etc/patroni" "$root/var/lib/etcd" "$root/var/lib/postgresql" "$root/var/run/postgresql"
cat >"$root/etc/default/etcd" <<END
ETCD_NAME=$node
ETCD_DATA_DIR=$root/var/lib/etcd/nabz
ETCD_LISTEN_PEER_URLS=http://$address:2380
ETCD_LISTEN_CLIENT_URLS=http://$address:2379
ETCD_INITIAL_ADVERTISE_PEER_URLS=http://$address:2380
ETCD_ADVERTISE_CLIENT_URLS=http://$address:2379
ETCD_INITIAL_CLUSTER=$peers
ETCD_INITIAL_CLUSTER_TOKEN=nabz
ETCD_HEARTBEAT_INTERVAL=250
ETCD_ELECTION_TIMEOUT=2500
END

umask 077
archive="archive_mode: 'off'"
if [ -n "$wal" ]; then
    umask 077
archive="archive_mode: 'on'
        archive_timeout: 60
        archive_command: 'test ! -f $wal/%f && cp %p $wal/.%f.part && mv $wal/.%f.part $wal/%f'"
fi
cat >"$root/etc/patroni/config.yml" <<END
scope: nabz
name: $node
restapi:
  listen: $address:8008
  connect_address: $address:8008
etcd3:
  hosts: $hosts
bootstrap:
  dcs:
    # A leader that does not renew within ttl is replaced; ttl is at least loop_wait + 2 retry_timeout.
    ttl: 15
    loop_wait: 4
    retry_timeout: 5
    primary_start_timeout: 0      # PostgreSQL that ended is not started again first: a standby takes over
    maximum_lag_on_failover: 1048576
    synchronous_mode: true
    synchronous_mode_strict: true # without a standby nothing is committed, so nothing is receipted: gateways keep it
    postgresql:
      use_pg_rewind: true
      use_slots: true
      parameters:
        max_connections: 200
        synchronous_commit: 'on'
        wal_log_hints: 'on'
        wal_keep_size: 1GB
        max_slot_wal_keep_size: 16GB
        tcp_keepalives_idle: 10   # what a machine that died had locked is free within half a minute
        tcp_keepalives_interval: 5
        tcp_keepalives_count: 3
        $archive
  initdb:
    - encoding: UTF8
    - locale: C.UTF-8
    - data-checksums
postgresql:
  listen: $address:5432
  connect_address: $address:5432
  data_dir: $root/var/lib/postgresql/nabz
  bin_dir: $bin
  pgpass: $root/var/lib/postgresql/pgpass-nabz
  parameters:
    unix_socket_directories: $root/var/run/postgresql
    password_encryption: scram-sha-256
  pg_hba:
    - local all all scram-sha-256
    - host replication replicator $network scram-sha-256
    - host all all $network scram-sha-256
  authentication:
    superuser: {username: postgres, password: "$(cat "$secrets/postgres")"}
    replication: {username: replicator, password: "$(cat "$secrets/replicator")"}
END
chmod 644 "$root/etc/default/etcd"
if [ "$(id -u)" = 0 ]; then
    chown -R postgres:postgres "$root/etc/patroni" "$root/var/lib/postgresql" "$root/var/run/postgresql"
    if id etcd >/dev/null 2>&1; then chown etcd:etcd "$root/var/lib/etcd"; fi
fi
echo "$root/etc/default/etcd"
echo "$root/etc/patroni/config.yml"
