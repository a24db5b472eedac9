"""A provider that can be told to misbehave, by the number's last four digits or over HTTP, and that records every call.

`python -m tools.simulator` listens on http://127.0.0.1:8090; send messages to it with
SMS_PROVIDER_URL=http://127.0.0.1:8090/messages. A number's ending decides what happens to it:

    ending   what the caller sees                                     accepted?
    9001     2xx after 1 s (slow)                                     yes
    9002     429 with Retry-After: 1, then 2xx (throttle-once)        from the second call on
    9003     503, then 2xx (unavailable-once)                         from the second call on
    9004     503 every time                                           no
    9005     400, code number_unreachable: refused for good (refuse)  no
    9006     500 every time                                           no
    9007     an answer only after 15 s (accept-late)                  yes
    9008     a connection reset, no answer (accept-reset)             yes
    9009     200 with a body that is no JSON (garbage)                no
    9010     429 with Retry-After: 1, every time (throttle)           no
    9011     400, code bad_request (spoil)                            no
    other    what `PUT /behaviour` asked for; accepted at first       by its mode

"Once" counts per reference and starts again after `DELETE /calls`.

A POST may have up to 1,000 messages: {"messages": [{"reference", "to", "text"}, ...]}. The answer is then 200 with
{"results": [{"reference", "message_id"} or {"reference", "code", "message"}, ...]}, one for each, in their order: 9005
has the code number_unreachable, 9002 and 9010 throttled (with Retry-After), 9003 and 9004 unavailable. Where all are
throttled or all unavailable, the answer is 429 or 503 as for a single one. What 9001, 9006, 9007, 9008, 9009 and 9011
do, they do to the answer to all: with 9006, 9009 and 9011 none is accepted, with 9007 and 9008 all are that would be.
9011 stands for a provider that checks everything before it takes anything: with others in its request it is not even
recorded, nor are they.

    PUT /behaviour       {"mode": "503", "share": 0.1, "delay_s": 0, "retry_after_s": 1, "seed": 0}, each optional
    GET /behaviour       what numbers with any other ending get now
    GET /calls           every call in order, one for each number; ?reference= &batch= &limit= &offset=
    GET /calls/summary   how many requests, calls, references, repeats; ?batch=
    GET /calls/counts    calls per reference; ?batch=
    DELETE /calls        forget them all
    GET /healthz         200 while it runs

Settings: SMS_SIMULATOR_HOST (127.0.0.1), SMS_SIMULATOR_PORT (8090; 0 takes a free one), SMS_SIMULATOR_LATE_S (15).
"""
