"""A sealed batch packed for lines that cost money. No I/O.

    the byte 1, then the 64 bytes of the signature, then the body as raw DEFLATE (RFC 1951) with the dictionary `WORDS`

Signed is the body as it is, so whoever holds, chains or audits it knows nothing of this; an unpacked batch begins with
`{`. A gateway packs after a receipt of the same session has said that the collector reads this (`packing` of
`wire.Receipt`), and no more once a batch is overdue: an older collector may stand there by now.
"""

from __future__ import annotations

import zlib

from agent import wire
from agent.common.errors import describe

FORMAT = 1
SIGNATURE_BYTES = 64
RAW = -15  # wbits of zlib: no header, the whole window

# What most batches say, the likeliest last. Part of format 1: another text is another format.
WORDS = b"".join(
    (
        b'"kind":"boot","previous_end":"power","evidence":["new_boot:up_s="],"last_alive_ms":,"dark_s":"kind":"speed","eng',
        b'ine":"librespeed","engine_version":","server":","mode":"quick","purpose":"routine","slot":","test_id":","tls":tr',
        b'ue,"download_mbps":,"upload_mbps":,"capacity_down_mbps":,"capacity_up_mbps":,"cross_traffic_down_pct":0.0,"cross',
        b'_traffic_up_pct":0.0,"idle_rtt_ms":,"loaded_rtt_down_ms":,"loaded_rtt_up_ms":,"bytes_total":,"seconds":,"others_',
        b'from":"interface","public_address":","network":"AS","wan_interface":"flags":["failure":{"cause":"timeout","detai',
        b'l":""kind":"shed","first_seq":,"last_seq":,"count":,"why":"full","receipted","spans":[["proof":"","settings":{"di',
        b'gest":"","state":"applied","live":false,"unreadable_since_ms":,"last_gasp":"battery_low""unhealthy","missing","of',
        b'f","fault_place":"isp","beyond","causes":["dns"],"path_mtu_bytes":1492,"names_ms":,"names_failed_pct":0.0,"names',
        b'_by":"192.168.1.1","192.168.0.1","10.0.0.1","names_silent":["role":"isp","target":"","method":"udp","tcp","sent"',
        b':20,"received":19,"jitter_ms":1.'
        b'"clock":"unsynced"},"output_state":"battery","battery_status":"low","runtime_s":,"on_battery_s":,"changed":["',
        b'","waiting":[],"faults":{"quiet_s":[null,null,null,"temperature_c":[null,null,null,null,null,null,null,null,null',
        b'],"uptime_s":[',
        b'{"v":1,"device":"g","spool":"","first_seq":,"prev":"","nonce":"","settings":{"digest":""},"readings":[{"kind":"lin',
        b'k","at":{"wall_ms":179,"mono_ms":,"boot":"","clock":"synced"},"subject":"wan","rtt_min_ms":,"rtt_median_ms":,"rtt',
        b'_p95_ms":,"jitter_ms":0.,"loss_pct":0.0,"fault_place":"none","names_ms":,"names_failed_pct":0.0,"names_by":"","ho',
        b'ps":[{"role":"lan","target":"192.168.1.1","method":"icmp","sent":20,"received":20,"min_ms":0.,"median_ms":0.,"p95',
        b'_ms":0.,"jitter_ms":0.},{"role":"isp","target":"10.","method":"icmp","sent":20,"received":20,"min_ms":,"median_ms',
        b'":,"p95_ms":,"jitter_ms":},{"role":"collector","target":"","method":"icmp","sent":20,"received":20,"min_ms":,"med',
        b'ian_ms":,"p95_ms":,"jitter_ms":}]},{"kind":"gateway","at":{"wall_ms":179,"mono_ms":,"boot":"","clock":"synced"},"',
        b'cpu_pct":,"memory_pct":,"disk_free_pct":,"temperature_c":,"uptime_s":,"clock_offset_ms":-0.,"wan_interface":"eth0',
        b'","wan_rx_bytes":,"wan_tx_bytes":,"agent_rss_mb":,"agent_cpu_s":,"spool_readings":,"spool_bytes":,"spool_volatile',
        b'":false,"version":"0.","machine":"","router":"","hardware":"physical"},{"kind":"ups","at":{"wall_ms":179,"mono_ms',
        b'":,"boot":"","clock":"synced"},"subject":"ups","output_state":"online","battery_status":"normal","battery_replace',
        b'":false,"battery_charge_pct":100.0,"runtime_s":,"on_battery_s":0.0,"input_voltage_v":22,"output_voltage_v":22,"in',
        b'put_frequency_hz":50.0,"output_frequency_hz":50.0,"load_pct":,"battery_temp_c":,"battery_voltage_v":,"alarms_coun',
        b't":0,"manufacturer":"","model":"","firmware":"","serial":"","profiles":["rfc1628"],"input_source":"mains","source":"g',
        b'rid","self_test":"passed"},{"kind":"seats","at":{"wall_ms":179,"mono_ms":,"boot":"","clock":"synced"},"known":20,',
        b'"healthy":20,"unhealthy":0,"missing":0,"off":0,"seats":{"id":["seat-01","seat-02","seat-03","seat-04","seat-05","',
        b'seat-06","seat-07","seat-08","seat-09","seat-10","seat-11","seat-12","seat-13","seat-14","seat-15","seat-16","sea',
        b't-17","seat-18","seat-19","seat-20","seat-21","seat-22","seat-23","seat-24","seat-25","seat-26","seat-27","seat-2',
        b'8","seat-29","seat-30"],"state":["healthy","healthy","healthy","healthy","healthy","healthy","healthy","healthy",',
        b'"off","off","off","off","off"],"why":["","","","","","","","","","","","","","","","","","","",""],"cpu_pct":[0.0,',
        b'1.0,2.0,3.0,4.0,5.0,6.0,8.0,10.0,12.0,15.0,20.0,25.0,30.0],"memory_pct":[35.0,40.0,45.0,50.0,55.0,60.0,65.0,70.0,',
        b'],"disk_pct":[30.0,40.0,50.0,60.0,],"temperature_c":[45.0,50.0,null,null,null],"uptime_s":[3600.0,7200.0]}}]}',
    )
)


def pack(body: bytes, signature: bytes) -> bytes:
    """A batch's body and its signature (64 bytes) as one payload."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, RAW, zdict=WORDS)
    return bytes([FORMAT]) + signature + squeeze.compress(body) + squeeze.flush()


def is_packed(payload: bytes) -> bool:
    return payload[:1] == bytes([FORMAT])


def unpack(payload: bytes, limit: int = wire.MAX_BATCH_BYTES) -> tuple[bytes, bytes]:
    """(body, signature) of a packed batch, unverified. However much is packed in it, no more than `limit` bytes are
    ever made. Raises WireError."""
    if len(payload) > limit + 128:
        raise wire.WireError(f"message of {len(payload)} bytes is over the limit of {limit}")
    signature, packed = payload[1 : 1 + SIGNATURE_BYTES], payload[1 + SIGNATURE_BYTES :]
    if len(signature) != SIGNATURE_BYTES:
        raise wire.WireError(f"packed batch: signature has {len(signature)} bytes, Ed25519 has {SIGNATURE_BYTES}")
    stretch = zlib.decompressobj(RAW, zdict=WORDS)
    try:
        body = stretch.decompress(packed, limit + 1)
    except zlib.error as error:
        raise wire.WireError(f"packed batch: {describe(error)}") from None
    if len(body) > limit:
        raise wire.WireError(f"packed batch: more than {limit} bytes are packed in {len(payload)}")
    if not stretch.eof or stretch.unused_data:
        raise wire.WireError("packed batch: is cut short, or something follows it")
    return body, signature


def unseal(payload: bytes, limit: int = wire.MAX_BATCH_BYTES) -> tuple[bytes, bytes]:
    """(body, signature) of a batch as it came, packed or not, unverified. Raises WireError."""
    return unpack(payload, limit) if is_packed(payload) else wire.unseal(payload, limit)
