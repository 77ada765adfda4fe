/* Devices on WebSockets (RFC 6455): they sign in, ack each push once, ping in time, and keep the ids that they have seen. Nothing reconnects. */
#ifndef TACO_DEVICE_H
#define TACO_DEVICE_H

#include "frames.h"
#include "loop.h"

/* Ids that a device was shown: an open table that grows by itself, so that no other device waits for it. */
struct ids {
    uint64_t *at;
    uint32_t count, room;
};

enum device_state { DEVICE_OFFLINE, DEVICE_DIALLING, DEVICE_UPGRADING, DEVICE_GREETING, DEVICE_LIVE };

struct device {
    struct source source;
    enum device_state state;
    uint32_t number, gateway;
    struct text app, name, token;
    struct bytes in, out; /* an incomplete frame; what the socket did not take */
    struct ids shown;
    int64_t since_ns, ping_ns;
    uint64_t attempt, next_s;
};

struct crowd {
    struct device *devices;
    size_t count;
    enum codec codec;
    struct address gateways[64];
    size_t gateway_count;
    size_t live;
    /* the sign-in that is under way */
    size_t begun, under_way, failed, at_once;
    int64_t began_ns, timeout_ns;
    char why[160]; /* the first failure */
};

extern struct crowd crowd;

/* Lines of app, device, token and place of the gateway with tabs between. Kept for as long as the program runs. */
void crowd_read(struct text path);
void crowd_sign_in(void); /* dial as many as may be under way */
bool crowd_signed_in(void);
void crowd_tick(int64_t now); /* once a second or so: pings, and sign-ins that take too long */
void crowd_close(void);

#endif
