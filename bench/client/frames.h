/* The frames of `taco.v1` as a device needs them, in both codecs (sdk_proto/PROTOCOL.md). A message is read as a whole or refused. */
#ifndef TACO_FRAMES_H
#define TACO_FRAMES_H

#include "json.h"

enum codec { CODEC_PROTO, CODEC_JSON };

enum frame_type {
    FRAME_UNKNOWN,
    FRAME_WELCOME,
    FRAME_PUSH,
    FRAME_UNDECODABLE, /* a push of which the id can be read and nothing else */
    FRAME_RECALL,
    FRAME_PONG,
    FRAME_REPLY,
    FRAME_CONFIG,
    FRAME_MIGRATE,
    FRAME_ERROR,
    FRAME_BYE,
};

struct frame {
    enum frame_type type;
    uint64_t id; /* push, undecodable, recall */
    bool again, via_vendor;
    uint64_t sent;         /* push: Unix ms */
    uint64_t next, window; /* welcome: seconds between pings, pushes without an ack */
    uint64_t code;         /* bye */
    struct text reason;    /* bye; in JSON with its escapes */
};

/* Grows as needed; `error` says why a message was refused. */
struct frames {
    struct frame *at;
    size_t count, room;
    const char *error;
};

/* False: the message is refused, none of it takes effect. */
bool frames_read(enum codec codec, const char *message, size_t length, struct frames *frames);

const char *frame_name(enum frame_type type);

struct hello {
    struct text app, device, token, install;
    uint64_t attempt;
};

enum { ACK_IDS = 256, ACK_BYTES = 64 + 24 * ACK_IDS }; /* ids in one ack at most, and room for it */

/* Both write a message and say how long it is. A hello needs room for 512 bytes and 6 times each text. */
size_t frames_hello(enum codec codec, const struct hello *hello, char *out);
size_t frames_ack(enum codec codec, const uint64_t *ids, size_t count, bool undecodable, char *out);
size_t frames_ping(enum codec codec, char *out);

#endif
