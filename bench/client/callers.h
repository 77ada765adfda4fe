/* Callers of the push API over HTTP/1.1: connections that are kept, one request at a time on each, and a schedule that waits for nobody. */
#ifndef TACO_CALLERS_H
#define TACO_CALLERS_H

#include "loop.h"

struct offer {
    struct address apis[16];
    size_t api_count;
    char key[256];
    double rate;    /* pushes a second */
    uint64_t batch; /* pushes in a request; 1: POST /v1/messages, else /v1/messages:batch */
    uint64_t total; /* requests */
    uint64_t connections; /* at each API */
    int64_t begin_ns, end_ns, timeout_ns;
};

/* One schedule at a time; connections of an earlier one are closed. */
void callers_begin(const struct offer *offer);
/* When the next request is due; INT64_MAX when none is left. */
int64_t callers_due(void);
/* Send what is due. */
void callers_send(int64_t now);
/* Requests without an answer yet, those that wait for a connection among them. */
size_t callers_waiting(void);
void callers_tick(int64_t now); /* once a second or so: give up those that take too long */
/* The newest accepted id and when it was due; 0: none yet. */
struct record callers_newest(void);

#endif
