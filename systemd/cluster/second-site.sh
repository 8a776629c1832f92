#!/bin/sh
# A second site that holds what a lost one needs: run there, so that whoever takes the first site over cannot reach it.
#
#   second-site.sh copy       # files of the collector: archive, backups, journal of decisions; nothing is ever deleted
#   second-site.sh base       # a base backup of PostgreSQL, once a day; the newest two stay, with the log since then
#   second-site.sh wal        # streams PostgreSQL's log until it is stopped (pg_receivewal)
#   second-site.sh restore D  # PostgreSQL's folder D of what is here, to be started: it recovers to the newest commit
#
# Settings, a shell assignment a line, in /etc/nabz/second-site.conf or the file that SETTINGS names:
#   PLACE=/srv/nabz                                   where it is kept
#   FILES=nabz-copy@collector:/var/lib/nabz-collector the collector's data_dir (rsync), with `archive` and the journal
#   BACKUPS=nabz-copy@collector:/var/backups/nabz     its [backup] folder, whose files are encrypted
#   DATABASE="host=db1,db2,db3 user=replicator target_session_attrs=read-write"    of libpq; the password in ~/.pgpass
set -eu

fail() { echo "second-site.sh: $1" >&2; exit 2; }

. "${SETTINGS:-/etc/nabz/second-site.conf}"
for name in PLACE FILES BACKUPS DATABASE; do
    eval "[ -n \"\${$name:-}\" ]" || fail "$name: is not set in ${SETTINGS:-/etc/nabz/second-site.conf}"
done
PATH=$PATH:$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1)
umask 077
mkdir -p "$PLACE/wal" "$PLACE/base" "$PLACE/files" "$PLACE/backups"

case ${1:-} in
copy)
    rsync -a --prune-empty-dirs --include='archive/***' --include='decisions.journal' --exclude='*' "$FILES/" "$PLACE/files/"
    rsync -a --include='*.backup' --exclude='*' "$BACKUPS/" "$PLACE/backups/"
    date +%s >"$PLACE/copied"
    ;;
base)
    name=$(date -u +%Y-%m-%dT%H%M%S)
    pg_basebackup -d "$DATABASE" -D "$PLACE/base/.$name" --wal-method=none --checkpoint=fast --no-password
    mv "$PLACE/base/.$name" "$PLACE/base/$name"
    ls -d "$PLACE"/base/[0-9]* | sort | head -n -2 | xargs -r rm -rf
    oldest=$(ls -d "$PLACE"/base/[0-9]* | sort | head -1)
    first=$(sed -n 's/^START WAL LOCATION: .* (file \([0-9A-F]*\))$/\1/p' "$oldest/backup_label")
    pg_archivecleanup "$PLACE/wal" "$first"
    ;;
wal)
    exec pg_receivewal -d "$DATABASE" -D "$PLACE/wal" --synchronous --no-password
    ;;
restore)
    [ -n "${2:-}" ] && [ ! -e "$2" ] || fail "restore: name a folder that is not there yet"
    newest=$(ls -d "$PLACE"/base/[0-9]* 2>/dev/null | sort | tail -1)
    [ -n "$newest" ] || fail "restore: $PLACE/base holds no base backup"
    cp -a "$newest" "$2"
    touch "$2/recovery.signal"
    cat >>"$2/postgresql.auto.conf" <<END
restore_command = 'cp $PLACE/wal/%f %p || cp $PLACE/wal/%f.partial %p'
recovery_target_timeline = 'latest'
recovery_target_action = 'promote'
primary_conninfo = ''
primary_slot_name = ''
synchronous_standby_names = ''
archive_mode = 'off'
END
    ;;
*)
    fail "${1:-nothing}: is none of copy, base, wal, restore"
    ;;
esac
