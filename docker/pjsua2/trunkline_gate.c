/* Strangers are dropped before a transaction exists.
 *
 * pjsua answers 100, takes a call slot and a pair of RTP ports before it asks anybody about an INVITE. This pjsip module
 * stands in front of the transaction layer and swallows every request whose source address is not in the allow table;
 * responses pass (they belong to requests of ours, or to nothing). The table is a list of networks, swapped whole by
 * the one thread that polls pjsip (threadCnt = 0), in which this module runs as well: no lock. Called through ctypes.
 *
 * Scanners send thousands of requests a second; what is counted here costs no Python.
 */
#include <pjlib.h>
#include <pjsip.h>
#include <pjsua-lib/pjsua.h>
#include <string.h>

#define GATE_API __attribute__((visibility("default")))
#define MAX_NETS 4096
#define MAX_SOURCES 1024 /* strangers remembered, for bans and for the operator; the oldest slot is taken over */

typedef struct {
    unsigned char address[16]; /* IPv4 as ::ffff:a.b.c.d */
    int bits;                  /* 0..128 */
} gate_net;

typedef struct {
    unsigned char address[16];
    unsigned long long refused; /* requests dropped so far */
    long long last_ms;          /* of the polling thread's clock */
} gate_source;

enum { DROPPED, PASSED, DROPPED_INVITE, DROPPED_REGISTER, DROPPED_OPTIONS, DROPPED_OTHER, RESPONSES, COUNTERS };

static gate_net nets[MAX_NETS];
static int net_count = -1; /* below 0: open to all */
static gate_source sources[MAX_SOURCES];
static int source_count, source_next;
static unsigned long long counters[COUNTERS];
static pj_bool_t registered;

static void address_of(const pjsip_rx_data *rdata, unsigned char out[16]) {
    const pj_sockaddr *from = &rdata->pkt_info.src_addr;
    if (from->addr.sa_family == pj_AF_INET6()) {
        memcpy(out, &from->ipv6.sin6_addr, 16);
    } else {
        memset(out, 0, 10);
        out[10] = out[11] = 0xff;
        memcpy(out + 12, &from->ipv4.sin_addr, 4);
    }
}

static pj_bool_t within(const gate_net *net, const unsigned char address[16]) {
    int whole = net->bits / 8, rest = net->bits % 8;
    if (memcmp(net->address, address, whole)) return PJ_FALSE;
    return !rest || !((net->address[whole] ^ address[whole]) >> (8 - rest));
}

static pj_bool_t allowed(const unsigned char address[16]) {
    int i;
    if (net_count < 0) return PJ_TRUE;
    for (i = 0; i < net_count; ++i)
        if (within(&nets[i], address)) return PJ_TRUE;
    return PJ_FALSE;
}

static void remember(const unsigned char address[16]) {
    pj_time_val now;
    int i;
    gate_source *slot = NULL;
    for (i = 0; i < source_count && !slot; ++i)
        if (!memcmp(sources[i].address, address, 16)) slot = &sources[i];
    if (!slot) {
        slot = &sources[source_next];
        source_next = (source_next + 1) % MAX_SOURCES;
        if (source_count < MAX_SOURCES) ++source_count;
        memcpy(slot->address, address, 16);
        slot->refused = 0;
    }
    pj_gettickcount(&now);
    ++slot->refused;
    slot->last_ms = (long long)now.sec * 1000 + now.msec;
}

static pj_bool_t on_request(pjsip_rx_data *rdata) {
    unsigned char address[16];
    address_of(rdata, address);
    if (allowed(address)) {
        ++counters[PASSED];
        return PJ_FALSE;
    }
    ++counters[DROPPED];
    switch (rdata->msg_info.msg->line.req.method.id) {
    case PJSIP_INVITE_METHOD: ++counters[DROPPED_INVITE]; break;
    case PJSIP_REGISTER_METHOD: ++counters[DROPPED_REGISTER]; break;
    case PJSIP_OPTIONS_METHOD: ++counters[DROPPED_OPTIONS]; break;
    default: ++counters[DROPPED_OTHER];
    }
    remember(address);
    return PJ_TRUE; /* nobody else sees it */
}

static pj_bool_t on_response(pjsip_rx_data *rdata) {
    PJ_UNUSED_ARG(rdata);
    ++counters[RESPONSES];
    return PJ_FALSE;
}

static pjsip_module gate = {
    NULL, NULL, {"mod-trunkline-gate", 18}, -1, PJSIP_MOD_PRIORITY_TRANSPORT_LAYER + 1,
    NULL, NULL, NULL, NULL, &on_request, &on_response, NULL, NULL, NULL,
};

/* After libStart, in the polling thread. 0, or pjsip's error. */
GATE_API int trunkline_gate_start(void) {
    int status;
    if (registered) return 0;
    status = pjsip_endpt_register_module(pjsua_get_pjsip_endpt(), &gate);
    registered = status == PJ_SUCCESS;
    return status;
}

/* packed: count × (16 bytes of address, 1 byte of prefix length 0..128). count < 0: open to all. -1: too many, kept. */
GATE_API int trunkline_gate_allow(const unsigned char *packed, int count) {
    int i;
    if (count > MAX_NETS) return -1;
    for (i = 0; i < count; ++i) {
        memcpy(nets[i].address, packed + 17 * i, 16);
        nets[i].bits = packed[17 * i + 16] > 128 ? 128 : packed[17 * i + 16];
    }
    net_count = count;
    return 0;
}

/* Fills `out` with: dropped, passed, dropped INVITE, REGISTER, OPTIONS, other, responses. Returns how many there are. */
GATE_API int trunkline_gate_counters(unsigned long long *out, int room) {
    int n = room < COUNTERS ? room : COUNTERS;
    memcpy(out, counters, n * sizeof *out);
    return COUNTERS;
}

/* The strangers met: (16 bytes of address, 8 bytes count, 8 bytes ms since boot), native order. Returns how many. */
GATE_API int trunkline_gate_sources(unsigned char *out, int room) {
    int i, n = room < source_count ? room : source_count;
    for (i = 0; i < n; ++i, out += 32) {
        memcpy(out, sources[i].address, 16);
        memcpy(out + 16, &sources[i].refused, 8);
        memcpy(out + 24, &sources[i].last_ms, 8);
    }
    return n;
}
