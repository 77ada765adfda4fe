/* A cursor over JSON text (RFC 8259) that copies nothing: for frames, answers of the push API and commands. */
#ifndef TACO_JSON_H
#define TACO_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json {
    const char *at, *end;
};

/* Text within the message it was found in; never ends with a zero byte. */
struct text {
    const char *at;
    size_t length;
};

#define TEXT(literal) ((struct text){literal, sizeof(literal) - 1})

bool text_is(struct text text, const char *literal);

void json_space(struct json *json);
/* The next character that is not white space; 0 at the end. */
char json_peek(struct json *json);
/* Whether nothing but white space is left. */
bool json_over(struct json *json);
/* What is between the quotes, escapes as they are. */
bool json_text(struct json *json, struct text *text);
/* A whole number without sign, fraction or exponent. */
bool json_number(struct json *json, uint64_t *number);
/* Any number. */
bool json_real(struct json *json, double *number);
bool json_true_or_false(struct json *json, bool *value);
/* Step over a value of any type. */
bool json_skip(struct json *json);

/* Walk over an object:
 *
 *     for (int more = json_open(&json, '{', &key); more > 0; more = json_more(&json, '{', &key)) { read or skip the value at json }
 *
 * 1: the cursor is at the next value (`key` is that of an object's, NULL for an array); 0: the end; -1: not JSON. */
int json_open(struct json *json, char kind, struct text *key);
int json_more(struct json *json, char kind, struct text *key);

/* Append text in quotes, escaped where JSON needs it; the end of what was written. `out` has room for 6 times the length and 2. */
char *json_quote(char *out, struct text text);

#endif
