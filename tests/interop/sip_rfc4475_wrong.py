"""The other messages of RFC 4475: invalid ones (3.1.2), those that are wrong above the grammar (3.2, 3.3), an old one
(3.4); and all 49. What is right to say is the RFC's own word on each, where it leaves a choice every part of it.
"""

from typing import Final

from tests.interop.sip_rfc4475 import (
    INVITE,
    NOTHING,
    OPTIONS,
    REGISTER,
    SAYS,
    SDP,
    TYPED,
    VALID,
    case,
    joined,
    made,
    request,
    response,
)


def _old() -> bytes:
    """RFC 2543: no branch, no tag, no Max-Forwards, no Content-Length."""
    head = [
        "Via: SIP/2.0/UDP 192.0.2.55",
        "From: <sip:+13035551111@ift.example.net;user=phone>",
        "To: sip:+16505552222@ss1.example.net;user=phone",
        "Call-ID: inv2543.1717@ift.example.com",
        "CSeq: 56 INVITE",
        "Contact: <sip:+13035551111@192.0.2.55>",
        TYPED,
    ]
    return joined("INVITE sip:UserB@example.com SIP/2.0", list(head), SDP)


def _multiple() -> bytes:
    again = ["CSeq: 59 INVITE", "Call-ID: multi01.again", "Max-Forwards: 5", "To: <sip:user2@example.com>"]
    return request("multi01", INVITE, *again, "From: <sip:other@example.net>;tag=3413415", TYPED, body=SDP)


INVALID: Final = (
    case(
        "badinv01",
        "3.1.2.1",
        "separators too many",
        made("badinv01", INVITE, "Via: SIP/2.0/UDP 192.0.2.15;;,;,,", 'Contact: "Joe" <sip:joe@example.org>;;;;'),
        400,
    ),
    case(
        "clerr",
        "3.1.2.2",
        "Content-Length beyond the message",
        made("clerr", INVITE, TYPED, body=SDP, length="9999"),
        400,
        tcp=(NOTHING,),
    ),
    case("ncl", "3.1.2.3", "Content-Length below zero", made("ncl", INVITE, TYPED, body=SDP, length="-999"), 400),
    case(
        "scalar02",
        "3.1.2.4",
        "numbers too large, in a request",
        made(
            "scalar02",
            REGISTER,
            "CSeq: 36893488147419103232 REGISTER",
            "Max-Forwards: 300",
            "Expires: 10000000000000000000000000000000000000",
            leave=("CSeq", "Max-Forwards"),
        ),
        400,
    ),
    case(
        "scalarlg",
        "3.1.2.5",
        "numbers too large, in a response",
        response(
            "scalarlg",
            "SIP/2.0 503 Service Unavailable",
            "Retry-After: 949302838503028349304023988",
            'Warning: 1812 o "x"',
            cseq="9292394834772304023312 OPTIONS",
        ),
        NOTHING,
    ),
    case(
        "quotbal",
        "3.1.2.6",
        "a quote that is not closed",
        made("quotbal", INVITE, 'To: "Mr. J. User <sip:j.user@example.com>', TYPED, body=SDP, leave=("To",)),
        400,
    ),
    case(
        "ltgtruri",
        "3.1.2.7",
        "<> about the request's address",
        made("ltgtruri", "INVITE <sip:user@example.com> SIP/2.0", TYPED, body=SDP),
        400,
    ),
    case(
        "lwsruri",
        "3.1.2.8",
        "space in the request's address",
        made("lwsruri", "INVITE sip:user@example.com; lr SIP/2.0", TYPED, body=SDP),
        400,
    ),
    case(
        "lwsstart",
        "3.1.2.9",
        "more than one space in the first line",
        made("lwsstart", "INVITE  sip:user@example.com  SIP/2.0", TYPED, body=SDP),
        400,
        SAYS,
    ),
    case(
        "trws",
        "3.1.2.10",
        "spaces behind the first line",
        made("trws", "OPTIONS sip:remote-target@example.com SIP/2.0  "),
        400,
        200,
    ),
    case(
        "escruri",
        "3.1.2.11",
        "headers in the request's address",
        made("escruri", "INVITE sip:user@example.com?Route=%3Csip:example.com%3E SIP/2.0", TYPED, body=SDP),
        400,
    ),
    case(
        "baddate",
        "3.1.2.12",
        "a date that is not GMT",
        made("baddate", INVITE, "Date: Fri, 01 Jan 2010 16:00:00 EST", TYPED, body=SDP),
        400,
        SAYS,
    ),
    case(
        "regbadct",
        "3.1.2.13",
        "a Contact with ? and no <>",
        made("regbadct", REGISTER, "Contact: sip:user@example.com?Route=%3Csip:sip.example.com%3E", leave=("Contact",)),
        400,
        405,
    ),
    case(
        "badaspec",
        "3.1.2.14",
        "spaces within <>",
        made("badaspec", OPTIONS, 'To: "Watson, Thomas" < sip:t.watson@example.org >', leave=("To",)),
        400,
        200,
    ),
    case(
        "baddn",
        "3.1.2.15",
        "a name with a comma and no quotes",
        made("baddn", OPTIONS, "From: Bell, Alexander <sip:a.g.bell@example.com>;tag=43", leave=("From",)),
        400,
        200,
    ),
    case(
        "badvers",
        "3.1.2.16",
        "SIP/7.0",
        made(
            "badvers",
            "OPTIONS sip:t.watson@example.org SIP/7.0",
            "Via: SIP/7.0/UDP 192.0.2.2;branch=z9hG4bKkdjuw",
            leave=("Via",),
        ),
        505,
    ),
    case(
        "mismatch01",
        "3.1.2.17",
        "CSeq of another method",
        made("mismatch01", OPTIONS, "CSeq: 8 INVITE", leave=("CSeq",)),
        400,
    ),
    case(
        "mismatch02",
        "3.1.2.18",
        "CSeq of another method, itself unknown",
        made("mismatch02", "NEWMETHOD sip:user@example.com SIP/2.0", "CSeq: 8 INVITE", leave=("CSeq",)),
        400,
        501,
    ),
    case(
        "bigcode",
        "3.1.2.19",
        "a response's code too large",
        response("bigcode", "SIP/2.0 4294967301 better not break the receiver"),
        NOTHING,
    ),
)

ABOVE: Final = (
    case(
        "badbranch",
        "3.2.1",
        "a branch of nothing but the cookie",
        made("badbranch", OPTIONS, "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK", leave=("Via",)),
        200,
        400,
    ),
    case(
        "insuf",
        "3.3.1",
        "no Call-ID, From and To",
        made("insuf", INVITE, TYPED, body=SDP, leave=("Call-ID", "From", "To")),
        400,
    ),
    case(
        "unkscm",
        "3.3.2",
        "an unknown scheme",
        made("unkscm", "OPTIONS nobodyKnowsThisScheme:totallyopaquecontent SIP/2.0"),
        416,
    ),
    case(
        "novelsc",
        "3.3.3",
        "a scheme that is no telephone's",
        made("novelsc", "OPTIONS soap.beep://192.0.2.103:3002 SIP/2.0"),
        416,
    ),
    case(
        "unksm2",
        "3.3.4",
        "unknown schemes in headers",
        made(
            "unksm2",
            REGISTER,
            "To: isbn:2983792873",
            "From: <http://www.example.com>;tag=3234233",
            "Contact: <name:John_Smith>",
            leave=("To", "From", "Contact"),
        ),
        405,
        400,
    ),
    case(
        "bext01",
        "3.3.5",
        "extensions that nobody knows",
        made(
            "bext01",
            OPTIONS,
            "Require: nothingSupportsThis, nothingSupportsThisEither",
            "Proxy-Require: noProxiesSupportThis, norDoAnyProxiesSupportThis",
        ),
        420,
    ),
    case(
        "invut",
        "3.3.6",
        "a body of an unknown kind",
        made(
            "invut",
            INVITE,
            "Content-Type: application/unknownformat",
            body=b'<audio>\r\n <pcmu port="443"/>\r\n</audio>\r\n',
        ),
        415,
    ),
    case(
        "regaut01",
        "3.3.7",
        "an unknown kind of credentials",
        made("regaut01", REGISTER, "Authorization: NoOneKnowsThisScheme opaque-data=here"),
        405,
    ),
    case("multi01", "3.3.8", "single headers twice", _multiple(), 400),
    case(
        "mcl01",
        "3.3.9",
        "Content-Length twice",
        made(
            "mcl01",
            OPTIONS,
            "Content-Length: 5",
            "Content-Type: text/plain",
            body=b"There's no way to know how many octets are supposed to be here.\r\n",
            length="13",
        ),
        400,
    ),
    case(
        "bcast",
        "3.3.10",
        "a response for the broadcast address",
        response(
            "bcast",
            "SIP/2.0 200 OK",
            via="SIP/2.0/UDP 192.0.2.198;branch=z9hG4bK-bcast, SIP/2.0/UDP 255.255.255.255;branch=z9hG4bK1saber23",
        ),
        NOTHING,
    ),
    case(
        "zeromf",
        "3.3.11",
        "Max-Forwards of zero, at its target",
        made("zeromf", OPTIONS, "Max-Forwards: 0", leave=("Max-Forwards",)),
        200,
        483,
    ),
    case(
        "cparam01",
        "3.3.12",
        "an unknown parameter of a Contact",
        made("cparam01", REGISTER, "Contact: sip:+19725552222@gw1.example.net;unknownparam", leave=("Contact",)),
        405,
    ),
    case(
        "cparam02",
        "3.3.13",
        "an unknown parameter of an address",
        made("cparam02", REGISTER, "Contact: <sip:+19725552222@gw1.example.net;unknownparam>", leave=("Contact",)),
        405,
    ),
    case(
        "regescrt",
        "3.3.14",
        "an escaped header in an address",
        made(
            "regescrt", REGISTER, "Contact: <sip:user@example.com?Route=%3Csip:sip.example.com%3E>", leave=("Contact",)
        ),
        405,
    ),
    case(
        "sdp01",
        "3.3.15",
        "an answer asked for in a language nobody speaks",
        made("sdp01", INVITE, "Accept: text/nobodyKnowsThis", TYPED, body=SDP),
        406,
    ),
    case("inv2543", "3.4.1", "an INVITE of RFC 2543", _old(), SAYS, tcp=(400,)),
)

MESSAGES: Final = (*VALID, *INVALID, *ABOVE)
