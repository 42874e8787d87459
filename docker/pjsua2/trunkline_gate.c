/* Strangers are dropped before anything is made of what they send; from others, what is wrong is told so.
 *
 * pjsua answers 100, takes a call slot and a pair of RTP ports before it asks anybody about an INVITE, and its parser
 * faces the network. Three hooks of ours (patches/0002, 0003) stand before all of that: a connection of a stranger is
 * reset as it is accepted, a request of a stranger is dropped unread, a malformed request hears 400. Responses pass
 * (they belong to requests of ours, or to nothing). A pjsip module behind the parser says what RFC 3261 wants said of
 * requests that can be read but not served, and which pjsua takes, or never answers: trunkline_answers.c.
 *
 * Three kinds of sources: trusted ones (trunks, allowed networks); guests, who may call if they prove who they are; and
 * strangers. With nobody to prove anything there are no guests. A guest reaches nothing but an INVITE, some in a second,
 * and the calls that exist: whoever looks for telephones to rob asks OPTIONS or REGISTER first, and hears nothing.
 *
 * The table is a list of networks, swapped whole by the one thread that polls pjsip (threadCnt = 0), in which all of
 * this runs as well: no lock. Called through ctypes. What is counted here costs no Python.
 */
#include "trunkline_gate.h"
#include <string.h>

#define GATE_API __attribute__((visibility("default")))
#define MAX_NETS 4096
#define SOURCE_RATE 10  /* INVITEs of one guest a second, in the long run */
#define SOURCE_BURST 30 /* and at once; bans (bans.py) begin at 50 that prove nothing */
#define ALL_RATE 100    /* of all guests: each takes a call slot and ports until it is challenged */
#define ALL_BURST 200
#define MAX_SOURCES 1024 /* strangers remembered, for bans and for the operator; the oldest slot is taken over */

typedef struct {
    unsigned char address[16]; /* IPv4 as ::ffff:a.b.c.d */
    int bits;                  /* 0..128 */
} gate_net;

typedef struct {
    double left; /* INVITEs that may still come */
    long long at_ms;
} bucket;

typedef struct {
    unsigned char address[16];
    unsigned long long refused; /* packets dropped so far */
    long long last_ms;          /* of the polling thread's clock */
    bucket invites;             /* a guest's */
} gate_source;

typedef struct {
    gate_net nets[MAX_NETS];
    int count; /* below 0: open to all */
} gate_table;

static gate_table heard = {{{{0}, 0}}, -1}, trusted = {{{{0}, 0}}, -1};
static gate_source sources[MAX_SOURCES];
static int source_count, source_next;
static bucket all_invites = {ALL_BURST, 0};
unsigned long long trunkline_counters[COUNTERS];

static void address_of(const pj_sockaddr *from, unsigned char out[16]) {
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

static pj_bool_t among(const gate_table *table, const unsigned char address[16]) {
    int i;
    if (table->count < 0) return PJ_TRUE;
    for (i = 0; i < table->count; ++i)
        if (within(&table->nets[i], address)) return PJ_TRUE;
    return PJ_FALSE;
}

static long long now_ms(void) {
    pj_time_val now;
    pj_gettickcount(&now);
    return (long long)now.sec * 1000 + now.msec;
}

static gate_source *source_of(const unsigned char address[16]) {
    const bucket full = {SOURCE_BURST, 0};
    gate_source *slot;
    int i;
    for (i = 0; i < source_count; ++i)
        if (!memcmp(sources[i].address, address, 16)) return &sources[i];
    slot = &sources[source_next];
    source_next = (source_next + 1) % MAX_SOURCES;
    if (source_count < MAX_SOURCES) ++source_count;
    memcpy(slot->address, address, 16);
    slot->refused = 0;
    slot->invites = full;
    return slot;
}

static void remember(const unsigned char address[16]) {
    gate_source *slot = source_of(address);
    ++slot->refused;
    slot->last_ms = now_ms();
}

static pj_bool_t drawn(bucket *from, double rate, double burst, long long now) {
    if (from->at_ms) from->left += (now - from->at_ms) * rate / 1000;
    if (from->left > burst) from->left = burst;
    from->at_ms = now;
    if (from->left < 1) return PJ_FALSE;
    from->left -= 1;
    return PJ_TRUE;
}

static pj_bool_t stranger(const pj_sockaddr *from) {
    unsigned char address[16];
    address_of(from, address);
    if (among(&trusted, address) || among(&heard, address)) return PJ_FALSE;
    remember(address);
    return PJ_TRUE;
}

pj_bool_t trunkline_guest(const pjsip_rx_data *rdata) {
    unsigned char address[16];
    address_of(&rdata->pkt_info.src_addr, address);
    return !among(&trusted, address);
}

/* A connection that is being accepted. */
static pj_bool_t on_accept(const pj_sockaddr *from) {
    if (!stranger(from)) return PJ_FALSE;
    ++trunkline_counters[DROPPED];
    ++trunkline_counters[DROPPED_CONNECTION];
    return PJ_TRUE;
}

static pj_bool_t begins(const char *packet, pj_size_t length, const char *word) {
    pj_size_t wanted = strlen(word);
    return length >= wanted && !memcmp(packet, word, wanted);
}

/* As much of it as has come. */
static pj_bool_t is_response(const char *packet, pj_size_t length) {
    return length && !memcmp(packet, "SIP/2.0 ", length < 8 ? length : 8);
}

/* A packet, not yet parsed: whether it is to be. */
static pj_bool_t on_packet(const pjsip_rx_data *rdata) {
    const char *packet = rdata->pkt_info.packet;
    pj_size_t length = rdata->pkt_info.len;
    while (length && (*packet == '\r' || *packet == '\n')) ++packet, --length;
    if (is_response(packet, length)) return PJ_TRUE;
    if (!stranger(&rdata->pkt_info.src_addr)) return PJ_TRUE;
    ++trunkline_counters[DROPPED];
    if (begins(packet, length, "INVITE ")) ++trunkline_counters[DROPPED_INVITE];
    else if (begins(packet, length, "REGISTER ")) ++trunkline_counters[DROPPED_REGISTER];
    else if (begins(packet, length, "OPTIONS ")) ++trunkline_counters[DROPPED_OPTIONS];
    else ++trunkline_counters[DROPPED_OTHER];
    return PJ_FALSE;
}

static pj_bool_t in_time(const pjsip_rx_data *rdata) {
    unsigned char address[16];
    long long now = now_ms();
    address_of(&rdata->pkt_info.src_addr, address);
    return drawn(&source_of(address)->invites, SOURCE_RATE, SOURCE_BURST, now) &&
           drawn(&all_invites, ALL_RATE, ALL_BURST, now);
}

static pj_bool_t has_transaction(pjsip_rx_data *rdata) {
    pjsip_transaction *found;
    pj_str_t key;
    pjsip_tsx_create_key(rdata->tp_info.pool, &key, PJSIP_ROLE_UAS, pjsip_get_invite_method(), rdata);
    found = pjsip_tsx_layer_find_tsx2(&key, PJ_TRUE);
    if (found) pj_grp_lock_dec_ref(found->grp_lock);
    return found != NULL;
}

/* What a guest may: an INVITE, in time; what belongs to one that is there, or to a call. ACK is never answered. */
static pj_bool_t guest_may(pjsip_rx_data *rdata) {
    const pjsip_method *method = &rdata->msg_info.msg->line.req.method;
    if (method->id == PJSIP_ACK_METHOD) return PJ_TRUE;
    if (method->id == PJSIP_CANCEL_METHOD) return has_transaction(rdata);
    if (rdata->msg_info.to->tag.slen)
        return pjsip_ua_find_dialog(&rdata->msg_info.cid->id, &rdata->msg_info.to->tag, &rdata->msg_info.from->tag,
                                    PJ_FALSE) != NULL;
    return method->id == PJSIP_INVITE_METHOD && (has_transaction(rdata) || in_time(rdata));
}

/* What we send within a dialog goes to its Contact. Over TCP and TLS that is a connection of its own, which a telephone
 * without a server, or behind NAT, never takes: so the Contact becomes where the request came from, and the connection
 * that is there is found by its address. Behind a proxy (Record-Route) the proxy's address counts. */
static void come_back(pjsip_rx_data *rdata) {
    pjsip_msg *msg = rdata->msg_info.msg;
    pjsip_contact_hdr *contact = (pjsip_contact_hdr *)pjsip_msg_find_hdr(msg, PJSIP_H_CONTACT, NULL);
    pjsip_sip_uri *uri;
    if (!PJSIP_TRANSPORT_IS_RELIABLE(rdata->tp_info.transport)) return;
    if (!contact || contact->star || !contact->uri || pjsip_msg_find_hdr(msg, PJSIP_H_RECORD_ROUTE, NULL)) return;
    if (!PJSIP_URI_SCHEME_IS_SIP(contact->uri) && !PJSIP_URI_SCHEME_IS_SIPS(contact->uri)) return;
    uri = (pjsip_sip_uri *)pjsip_uri_get_uri(contact->uri);
    pj_strdup2(rdata->tp_info.pool, &uri->host, rdata->pkt_info.src_name);
    uri->port = rdata->pkt_info.src_port;
    pj_strdup2(rdata->tp_info.pool, &uri->transport_param, rdata->tp_info.transport->type_name);
}

/* A request that could be read. A stranger's comes here only behind a response, on a connection of ours. */
static pj_bool_t on_request(pjsip_rx_data *rdata) {
    if (stranger(&rdata->pkt_info.src_addr)) {
        ++trunkline_counters[DROPPED];
        ++trunkline_counters[DROPPED_OTHER];
        return PJ_TRUE; /* nobody else sees it */
    }
    if (trunkline_guest(rdata) && !guest_may(rdata)) {
        ++trunkline_counters[DROPPED_GUEST];
        return PJ_TRUE;
    }
    ++trunkline_counters[PASSED];
    if (trunkline_wrong(rdata)) return PJ_TRUE;
    come_back(rdata);
    return PJ_FALSE;
}

static pj_bool_t on_response(pjsip_rx_data *rdata) {
    PJ_UNUSED_ARG(rdata);
    ++trunkline_counters[RESPONSES];
    return PJ_FALSE;
}

static pjsip_module gate = {
    NULL, NULL, {"mod-trunkline-gate", 18}, -1, PJSIP_MOD_PRIORITY_TRANSPORT_LAYER + 1,
    NULL, NULL, NULL, NULL, &on_request, &on_response, NULL, NULL, NULL,
};

/* After libStart, in the polling thread. 0, or pjsip's error. */
GATE_API int trunkline_gate_start(void) {
    int status;
    if (gate.id >= 0) return 0;
    status = pjsip_endpt_register_module(pjsua_get_pjsip_endpt(), &gate);
    if (status != PJ_SUCCESS) return status;
    trunkline_served();
    trunkline_stranger = &on_accept;
    trunkline_heard = &on_packet;
    trunkline_malformed = &trunkline_unreadable;
    return 0;
}

static int filled(gate_table *table, const unsigned char *packed, int count) {
    int i;
    if (count > MAX_NETS) return -1;
    for (i = 0; i < count; ++i) {
        memcpy(table->nets[i].address, packed + 17 * i, 16);
        table->nets[i].bits = packed[17 * i + 16] > 128 ? 128 : packed[17 * i + 16];
    }
    table->count = count;
    return 0;
}

/* Who is heard, and trusted until _trust says otherwise. packed: count × (16 bytes of address, 1 byte of prefix length
 * 0..128). count < 0: all. -1: too many, and all stays as it was. */
GATE_API int trunkline_gate_allow(const unsigned char *packed, int count) {
    if (filled(&heard, packed, count)) return -1;
    trusted = heard;
    return 0;
}

/* Who of them is no guest, in the same way; heard as well, whatever the other table says. After each _allow. */
GATE_API int trunkline_gate_trust(const unsigned char *packed, int count) { return filled(&trusted, packed, count); }

/* Fills `out` with the counters in the order of trunkline_gate.h. Returns how many there are. */
GATE_API int trunkline_gate_counters(unsigned long long *out, int room) {
    int n = room < COUNTERS ? room : COUNTERS;
    memcpy(out, trunkline_counters, n * sizeof *out);
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
