/* What RFC 3261 wants said of requests that are wrong, where pjsua says nothing, or takes them.
 *
 * In the RFC's order: malformed or contradictory, 400 (513 too long, 505 another version); a method that is not served,
 * 405 or 501 (8.2.1); a scheme that is no telephone's, 416 (8.2.2.1); extensions nobody here knows, 420 (8.2.2.3); a
 * body that nobody here reads, 415 (8.2.3). All without a transaction: nothing is kept of such a request. ACK is never
 * answered.
 */
#include "trunkline_gate.h"
#include <string.h>

#define OUT 4096 /* bytes of our answer to what cannot be parsed; longer ones are not sent */

static const char *const understood[] = {"100rel", "timer", "replaces", "norefersub", "trickle-ice"};
static const char *const called[] = {"REGISTER", "MESSAGE", "PUBLISH"}; /* recognised, not served: 405 */
static const char *const inside[] = {"BYE", "INFO", "UPDATE", "PRACK"}; /* within a dialog alone, else 481 */
static const char *const events[] = {"SUBSCRIBE", "NOTIFY"};
static const char *const served[] = {"INVITE", "OPTIONS", "CANCEL", "ACK", "REFER"};

#define AMONG(name, list) among(name, list, PJ_ARRAY_SIZE(list))
static pj_bool_t among(const pj_str_t *name, const char *const *list, unsigned count) {
    while (count--)
        if (!pj_strcmp2(name, list[count])) return PJ_TRUE;
    return PJ_FALSE;
}

static pj_bool_t answer(pjsip_rx_data *rdata, int counter, int code, const char *why, void *header) {
    pjsip_hdr list;
    pj_str_t reason = pj_str((char *)why);
    ++trunkline_counters[counter];
    if (rdata->msg_info.msg->line.req.method.id == PJSIP_ACK_METHOD) return PJ_TRUE;
    pj_list_init(&list);
    if (header) pj_list_push_back(&list, header);
    pjsip_endpt_respond_stateless(pjsua_get_pjsip_endpt(), rdata, code, *why ? &reason : NULL, &list, NULL);
    return PJ_TRUE;
}

static void *text_header(pjsip_rx_data *rdata, const char *name, const char *value) {
    pj_str_t n = pj_str((char *)name), v = pj_str((char *)value);
    return pjsip_generic_string_hdr_create(rdata->tp_info.pool, &n, &v);
}

static void *allow_header(pjsip_rx_data *rdata) {
    const pjsip_hdr *own = pjsip_endpt_get_capability(pjsua_get_pjsip_endpt(), PJSIP_H_ALLOW, NULL);
    return own ? pjsip_hdr_clone(rdata->tp_info.pool, own) : NULL;
}

/* -- contradictions: 400 */

static pj_bool_t twice(const pjsip_msg *msg, pjsip_hdr_e type) {
    const pjsip_hdr *first = (const pjsip_hdr *)pjsip_msg_find_hdr(msg, type, NULL);
    return first && first->next != (void *)&msg->hdr && pjsip_msg_find_hdr(msg, type, first->next);
}

static const char *doubled(const pjsip_msg *msg) {
    if (twice(msg, PJSIP_H_CALL_ID)) return "Call-ID twice";
    if (twice(msg, PJSIP_H_CSEQ)) return "CSeq twice";
    if (twice(msg, PJSIP_H_FROM)) return "From twice";
    if (twice(msg, PJSIP_H_TO)) return "To twice";
    if (twice(msg, PJSIP_H_MAX_FORWARDS)) return "Max-Forwards twice";
    if (twice(msg, PJSIP_H_CONTENT_LENGTH)) return "Content-Length twice";
    if (twice(msg, PJSIP_H_CONTENT_TYPE)) return "Content-Type twice";
    return NULL;
}

/* Bytes behind the empty line. */
static pj_size_t body_length(const pjsip_rx_data *rdata) {
    const char *at = rdata->msg_info.msg_buf, *end = at + rdata->msg_info.len;
    for (; (at = memchr(at, '\n', end - at)) != NULL;) {
        ++at;
        if (at < end && *at == '\r') ++at;
        if (at < end && *at == '\n') return end - at - 1;
    }
    return 0;
}

/* 18.3: a datagram that is shorter than it says is wrong, what it has too much is not part of it. */
static pj_bool_t too_short(pjsip_rx_data *rdata) {
    pjsip_msg_body *body = rdata->msg_info.msg->body;
    unsigned said;
    if (!rdata->msg_info.clen) return PJ_FALSE;
    said = rdata->msg_info.clen->len;
    if (said > body_length(rdata)) return PJ_TRUE;
    if (body && body->print_body == &pjsip_print_text_body && body->len > said) {
        body->len = said;
        if (!said) rdata->msg_info.msg->body = NULL;
    }
    return PJ_FALSE;
}

static const char *contradiction(pjsip_rx_data *rdata) {
    const pjsip_msg *msg = rdata->msg_info.msg;
    const char *why = doubled(msg);
    if (why) return why;
    if (pj_strcmp(&rdata->msg_info.cseq->method.name, &msg->line.req.method.name)) return "CSeq is of another method";
    if (too_short(rdata)) return "Content-Length is beyond the message";
    if (PJSIP_URI_SCHEME_IS_SIP(msg->line.req.uri) || PJSIP_URI_SCHEME_IS_SIPS(msg->line.req.uri)) {
        const pjsip_sip_uri *uri = (const pjsip_sip_uri *)pjsip_uri_get_uri(msg->line.req.uri);
        if (!pj_list_empty(&uri->header_param)) return "Headers in the request's address";
    }
    return NULL;
}

/* -- methods: 405, 481, 489, 403, 501 */

/* Subscriptions are those of a REFER; nobody may watch us, and nobody was asked for news. */
static pj_bool_t event_refused(pjsip_rx_data *rdata, pj_bool_t in_dialog) {
    const pj_str_t name = {"Event", 5}, compact = {"o", 1}, refer = {"refer", 5};
    const pjsip_event_hdr *event = pjsip_msg_find_hdr_by_names(rdata->msg_info.msg, &name, &compact, NULL);
    if (!event || pj_stricmp(&event->event_type, &refer))
        return answer(rdata, UNSERVED, 489, "Bad Event", text_header(rdata, "Allow-Events", "refer"));
    return !in_dialog && answer(rdata, UNSERVED, 481, "", NULL);
}

static pj_bool_t is_media(const pjsip_msg_body *body, const char *type, const char *subtype) {
    return !pj_stricmp2(&body->content_type.type, type) && !pj_stricmp2(&body->content_type.subtype, subtype);
}

/* OPTIONS and an INFO of nothing keep a call alive. pjsip's dialog answers 500 to them, as to an INFO of which nobody
 * here knows what it means, and some far ends take that for the call's end. */
static pj_bool_t answered_inside(pjsip_rx_data *rdata) {
    const pjsip_msg *msg = rdata->msg_info.msg;
    pj_bool_t info = !pj_strcmp2(&msg->line.req.method.name, "INFO");
    if (!info && msg->line.req.method.id != PJSIP_OPTIONS_METHOD) return PJ_FALSE;
    if (!pjsip_ua_find_dialog(&rdata->msg_info.cid->id, &rdata->msg_info.to->tag, &rdata->msg_info.from->tag, PJ_FALSE))
        return PJ_FALSE;
    if (!info || !msg->body) return answer(rdata, KEPT_ALIVE, 200, "", info ? NULL : allow_header(rdata));
    if (is_media(msg->body, "application", "dtmf-relay")) return PJ_FALSE;
    return answer(rdata, WRONG, 415, "", text_header(rdata, "Accept", "application/dtmf-relay"));
}

static pj_bool_t method_refused(pjsip_rx_data *rdata) {
    const pj_str_t *name = &rdata->msg_info.msg->line.req.method.name;
    pj_bool_t in_dialog = rdata->msg_info.to->tag.slen > 0;
    if (AMONG(name, called)) return answer(rdata, UNSERVED, 405, "", allow_header(rdata));
    if (AMONG(name, inside) && !in_dialog) return answer(rdata, UNSERVED, 481, "", NULL);
    if (AMONG(name, events)) return event_refused(rdata, in_dialog);
    if (!AMONG(name, served) && !AMONG(name, inside)) return answer(rdata, UNSERVED, 501, "", allow_header(rdata));
    if (in_dialog) return answered_inside(rdata);
    if (!pj_strcmp2(name, "REFER")) return answer(rdata, UNSERVED, 403, "Within a call alone", NULL);
    return PJ_FALSE;
}

/* -- 420 and 415 */

static void *unsupported(pjsip_rx_data *rdata) {
    pjsip_unsupported_hdr *told = NULL;
    const pjsip_hdr *end = &rdata->msg_info.msg->hdr, *at = end->next;
    for (; at != end; at = at->next) {
        const pjsip_generic_array_hdr *tags = (const pjsip_generic_array_hdr *)at;
        unsigned i;
        for (i = 0; at->type == PJSIP_H_REQUIRE && i < tags->count; ++i) {
            if (AMONG(&tags->values[i], understood)) continue;
            if (!told) told = pjsip_unsupported_hdr_create(rdata->tp_info.pool);
            if (told->count < PJSIP_GENERIC_ARRAY_MAX_COUNT) told->values[told->count++] = tags->values[i];
        }
    }
    return told;
}

static pj_bool_t optional_body(const pjsip_rx_data *rdata) {
    const pj_str_t name = {"Content-Disposition", 19}, word = {"handling=optional", 17};
    const pjsip_generic_string_hdr *said = pjsip_msg_find_hdr_by_name(rdata->msg_info.msg, &name, NULL);
    return said && pj_stristr(&said->hvalue, &word);
}

static pj_bool_t body_refused(pjsip_rx_data *rdata) {
    const pj_str_t name = {"Content-Encoding", 16}, compact = {"e", 1};
    const pjsip_msg *msg = rdata->msg_info.msg;
    const pjsip_generic_string_hdr *coded = pjsip_msg_find_hdr_by_names(msg, &name, &compact, NULL);
    if (coded && pj_stricmp2(&coded->hvalue, "identity"))
        return answer(rdata, WRONG, 415, "", text_header(rdata, "Accept-Encoding", "identity"));
    if (!msg->body || msg->line.req.method.id != PJSIP_INVITE_METHOD || optional_body(rdata)) return PJ_FALSE;
    if (!pj_stricmp2(&msg->body->content_type.type, "multipart")) return PJ_FALSE;
    if (is_media(msg->body, "application", "sdp")) return PJ_FALSE;
    return answer(rdata, WRONG, 415, "", text_header(rdata, "Accept", "application/sdp"));
}

pj_bool_t trunkline_wrong(pjsip_rx_data *rdata) {
    const pjsip_method *method = &rdata->msg_info.msg->line.req.method;
    const pjsip_uri *uri = rdata->msg_info.msg->line.req.uri;
    const char *why;
    void *header;
    rdata->msg_info.via->maddr_param.slen = 0; /* the answer goes to where the request came from, and no name is asked */
    if ((why = contradiction(rdata)) != NULL) return answer(rdata, WRONG, 400, why, NULL);
    if (method->id == PJSIP_ACK_METHOD || method->id == PJSIP_CANCEL_METHOD) return PJ_FALSE;
    if (method_refused(rdata)) return PJ_TRUE;
    if (!PJSIP_URI_SCHEME_IS_SIP(uri) && !PJSIP_URI_SCHEME_IS_SIPS(uri) && !PJSIP_URI_SCHEME_IS_TEL(uri))
        return answer(rdata, WRONG, 416, "", NULL);
    if ((header = unsupported(rdata)) != NULL) return answer(rdata, WRONG, 420, "", header);
    return body_refused(rdata);
}

void trunkline_served(void) {
    pjsip_generic_array_hdr *allow =
        (pjsip_generic_array_hdr *)pjsip_endpt_get_capability(pjsua_get_pjsip_endpt(), PJSIP_H_ALLOW, NULL);
    unsigned i, kept = 0;
    for (i = 0; allow && i < allow->count; ++i)
        if (pj_strcmp2(&allow->values[i], "MESSAGE") && pj_strcmp2(&allow->values[i], "SUBSCRIBE"))
            allow->values[kept++] = allow->values[i];
    if (allow) allow->count = kept;
}

/* -- what cannot be parsed */

static const char *const copied[] = {"Via", "v", "From", "f", "To", "t", "Call-ID", "i", "CSeq"};

static const char *line_end(const char *at, const char *end) {
    const char *found = memchr(at, '\n', end - at);
    return found ? found + 1 : end;
}

/* An address of another scheme than a telephone's: pjsip's parser takes none of them. */
static pj_bool_t other_scheme(const char *at, const char *end) {
    const char *colon = memchr(at, ':', end - at), *c;
    pj_str_t scheme;
    if (!colon || colon == at) return PJ_FALSE;
    for (c = at; c < colon; ++c)
        if (!pj_isalnum((unsigned char)*c) && *c != '+' && *c != '-' && *c != '.') return PJ_FALSE;
    pj_strset(&scheme, (char *)at, colon - at);
    return pj_stricmp2(&scheme, "sip") && pj_stricmp2(&scheme, "sips") && pj_stricmp2(&scheme, "tel");
}

/* A request that may be answered: METHOD SP … SP SIP/…; 505 for another version than ours, 416 for another address. */
static int code_for(const char *at, pj_size_t length, const char *end) {
    const char *version = end - 4, *space = memchr(at, ' ', end - at);
    if (!space || space == at || space - at > 64) return 0;
    if ((space - at >= 4 && !memcmp(at, "SIP/", 4)) || (space - at == 3 && !memcmp(at, "ACK", 3))) return 0;
    while (version > space && memcmp(version, "SIP/", 4)) --version;
    if (version <= space) return 0;
    if (end - version < 7 || memcmp(version + 4, "2.0", 3)) return 505;
    if (other_scheme(space + 1, version)) return 416;
    return length >= PJSIP_MAX_PKT_LEN - 1 ? 513 : 400;
}

static pj_bool_t is_copied(const char *at, const char *end, const char **name) {
    const char *colon = memchr(at, ':', end - at), *stop = colon;
    unsigned i;
    if (!colon) return PJ_FALSE;
    while (stop > at && (stop[-1] == ' ' || stop[-1] == '\t')) --stop;
    for (i = 0; i < PJ_ARRAY_SIZE(copied); ++i) {
        *name = copied[i];
        if ((pj_size_t)(stop - at) == strlen(*name) && !pj_ansi_strnicmp(at, *name, stop - at)) return PJ_TRUE;
    }
    return PJ_FALSE;
}

/* One header with its folded lines, on one line of ours; -1: no room. */
static int copy_header(const char *at, const char *end, char *out, int used) {
    while (end > at && (end[-1] == '\r' || end[-1] == '\n')) --end;
    if (used + (end - at) + 64 > OUT) return -1;
    for (; at < end; ++at) out[used++] = *at == '\r' || *at == '\n' || !*at ? ' ' : *at;
    out[used++] = '\r';
    out[used++] = '\n';
    return used;
}

static int headers_copied(const char *at, const char *end, char *out, int used) {
    pj_bool_t via = PJ_FALSE;
    const char *next, *name;
    for (; at < end && *at != '\r' && *at != '\n'; at = next) {
        next = line_end(at, end);
        while (next < end && (*next == ' ' || *next == '\t')) next = line_end(next, end);
        if (!is_copied(at, next, &name)) continue;
        via = via || *name == 'V' || *name == 'v';
        if ((used = copy_header(at, next, out, used)) < 0) return -1;
    }
    return via ? used : -1;
}

void trunkline_unreadable(pjsip_rx_data *rdata) {
    static char out[OUT];
    const char *at = rdata->msg_info.msg_buf, *end = at + rdata->msg_info.len, *line;
    pjsip_tpselector by;
    int code, used;
    ++trunkline_counters[MALFORMED];
    if (trunkline_guest(rdata)) return; /* who has proved nothing learns nothing */
    line = line_end(at, end);
    code = code_for(at, rdata->msg_info.len, line);
    if (!code) return;
    used = pj_ansi_snprintf(out, OUT, "SIP/2.0 %d %s\r\n", code, pjsip_get_status_text(code)->ptr);
    used = headers_copied(line, end, out, used);
    if (used < 0) return;
    used += pj_ansi_snprintf(out + used, OUT - used, "Content-Length: 0\r\n\r\n");
    pj_bzero(&by, sizeof(by));
    by.type = PJSIP_TPSELECTOR_TRANSPORT;
    by.u.transport = rdata->tp_info.transport;
    pjsip_tpmgr_send_raw(pjsip_endpt_get_tpmgr(pjsua_get_pjsip_endpt()), rdata->tp_info.transport->key.type, &by, NULL,
                         out, used, &rdata->pkt_info.src_addr, rdata->pkt_info.src_addr_len, NULL, NULL);
}
