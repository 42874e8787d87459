/* pjproject's limits, raised to those of a node that carries a thousand calls. Why each: README.md beside this file. */
#define PJ_IOQUEUE_MAX_HANDLES 8192 /* epoll; the default of 64 is some thirty calls */
#define PJSUA_MAX_CALLS 1024
#define PJSUA_MAX_ACC 256
#define PJSUA_MAX_CONF_PORTS (2 * PJSUA_MAX_CALLS + 64) /* a call's port and ours */
#define PJSIP_MAX_TSX_COUNT (16 * 1024 - 1)             /* 2^n - 1 */
#define PJSIP_MAX_DIALOG_COUNT (8 * 1024 - 1)
#define PJSIP_MAX_PKT_LEN 16000 /* bytes; with the default of 4000 larger INVITEs are dropped */
#define PJSIP_UDP_SO_RCVBUF_SIZE (4 * 1024 * 1024)
#define PJSIP_UDP_SO_SNDBUF_SIZE (4 * 1024 * 1024)
#define PJSIP_DONT_SWITCH_TO_TCP 1   /* a trunk said udp: what is longer than 1300 bytes goes in fragments */
#define PJSIP_TCP_INITIAL_TIMEOUT 16 /* s; a connection on which no message has come by then is closed */
#define PJSIP_TRANSPORT_SERVER_IDLE_TIME 7200 /* s; a telephone's own connection is the only way to it: not closed in a call */
#define PJMEDIA_HAS_VIDEO 0
#define PJMEDIA_CODEC_L16_HAS_8KHZ_MONO 1 /* without these two there is L16 at 44.1 kHz alone */
#define PJMEDIA_CODEC_L16_HAS_16KHZ_MONO 1
#define PJMEDIA_CONF_USE_AGC 0 /* the bridge must not change levels */
#define PJMEDIA_CONF_BACKEND PJMEDIA_CONF_PARALLEL_BRIDGE_BACKEND
#define PJMEDIA_CONF_THREADS 1
#define PJMEDIA_SRTP_HAS_AES_GCM_128 1
#define PJMEDIA_SRTP_HAS_AES_GCM_256 1
