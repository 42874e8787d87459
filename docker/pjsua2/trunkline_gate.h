/* What the gate's two files share, and the hooks that our patches put into pjproject. */
#include <pjlib.h>
#include <pjsip.h>
#include <pjsip_simple.h>
#include <pjsip_ua.h>
#include <pjsua-lib/pjsua.h>

/* In the order of bridge/sip/gate.py: COUNTERS. */
enum {
    DROPPED, PASSED, DROPPED_INVITE, DROPPED_REGISTER, DROPPED_OPTIONS, DROPPED_OTHER, RESPONSES,
    DROPPED_CONNECTION, MALFORMED, WRONG, UNSERVED, KEPT_ALIVE, DROPPED_GUEST, COUNTERS
};
extern unsigned long long trunkline_counters[COUNTERS];

extern pj_bool_t (*trunkline_stranger)(const pj_sockaddr *source);     /* pjlib: activesock.c */
extern pj_bool_t (*trunkline_heard)(const pjsip_rx_data *rdata);       /* pjsip: sip_transport.c */
extern void (*trunkline_malformed)(pjsip_rx_data *rdata);              /* pjsip: sip_transport.c */

pj_bool_t trunkline_guest(const pjsip_rx_data *rdata);
pj_bool_t trunkline_wrong(pjsip_rx_data *rdata);    /* true: it was answered, or is to be ignored */
void trunkline_unreadable(pjsip_rx_data *rdata);    /* 400 to a request that could not be parsed */
void trunkline_served(void);                        /* Allow tells what is served, no more */
