#include "json.h"

#include <stdlib.h>
#include <string.h>

enum { DEEPEST = 64 }; /* nested values; deeper ones are not JSON here */

bool text_is(struct text text, const char *literal) {
    size_t length = strlen(literal);
    return text.length == length && memcmp(text.at, literal, length) == 0;
}

void json_space(struct json *json) {
    while (json->at < json->end && (*json->at == ' ' || *json->at == '\t' || *json->at == '\n' || *json->at == '\r')) json->at++;
}

char json_peek(struct json *json) {
    json_space(json);
    return json->at < json->end ? *json->at : 0;
}

bool json_over(struct json *json) { return json_peek(json) == 0 && json->at == json->end; }

bool json_text(struct json *json, struct text *text) {
    if (json_peek(json) != '"') return false;
    const char *at = ++json->at;
    for (; at < json->end && *at != '"'; at++) {
        if ((unsigned char)*at < 0x20) return false;
        if (*at == '\\') {
            if (++at == json->end) return false;
            if (*at == 'u') {
                for (int digit = 0; digit < 4; digit++)
                    if (++at == json->end || !strchr("0123456789abcdefABCDEF", *at) || !*at) return false;
            } else if (!*at || !strchr("\"\\/bfnrt", *at)) {
                return false;
            }
        }
    }
    if (at == json->end) return false;
    *text = (struct text){json->at, (size_t)(at - json->at)};
    json->at = at + 1;
    return true;
}

static bool is_digit(const struct json *json) { return json->at < json->end && *json->at >= '0' && *json->at <= '9'; }

static bool digits(struct json *json) {
    if (!is_digit(json)) return false;
    while (is_digit(json)) json->at++;
    return true;
}

static bool number(struct json *json, bool *whole) {
    json_space(json);
    *whole = true;
    if (json->at < json->end && *json->at == '-') {
        *whole = false;
        json->at++;
    }
    bool zero = json->at < json->end && *json->at == '0';
    const char *first = json->at;
    if (!digits(json) || (zero && json->at != first + 1)) return false;
    if (json->at < json->end && *json->at == '.') {
        *whole = false;
        json->at++;
        if (!digits(json)) return false;
    }
    if (json->at < json->end && (*json->at == 'e' || *json->at == 'E')) {
        *whole = false;
        json->at++;
        if (json->at < json->end && (*json->at == '+' || *json->at == '-')) json->at++;
        if (!digits(json)) return false;
    }
    return true;
}

bool json_number(struct json *json, uint64_t *value) {
    json_space(json);
    const char *first = json->at;
    bool whole;
    if (!number(json, &whole) || !whole || json->at - first > 19) return false;
    *value = 0;
    for (; first < json->at; first++) *value = *value * 10 + (uint64_t)(*first - '0');
    return true;
}

bool json_real(struct json *json, double *value) {
    json_space(json);
    const char *first = json->at;
    bool whole;
    char copy[64];
    if (!number(json, &whole) || (size_t)(json->at - first) >= sizeof copy) return false;
    memcpy(copy, first, (size_t)(json->at - first));
    copy[json->at - first] = 0;
    *value = strtod(copy, NULL);
    return true;
}

static bool word(struct json *json, const char *literal) {
    size_t length = strlen(literal);
    json_space(json);
    if ((size_t)(json->end - json->at) < length || memcmp(json->at, literal, length) != 0) return false;
    json->at += length;
    return true;
}

bool json_true_or_false(struct json *json, bool *value) {
    *value = json_peek(json) == 't';
    return word(json, *value ? "true" : "false");
}

static int key_of(struct json *json, char kind, struct text *key) {
    if (kind == '[') return 1;
    if (!json_text(json, key) || json_peek(json) != ':') return -1;
    json->at++;
    return 1;
}

int json_open(struct json *json, char kind, struct text *key) {
    if (json_peek(json) != kind) return -1;
    json->at++;
    if (json_peek(json) == (kind == '{' ? '}' : ']')) {
        json->at++;
        return 0;
    }
    return key_of(json, kind, key);
}

int json_more(struct json *json, char kind, struct text *key) {
    char next = json_peek(json);
    if (next == ',') {
        json->at++;
        return key_of(json, kind, key);
    }
    if (next != (kind == '{' ? '}' : ']')) return -1;
    json->at++;
    return 0;
}

static bool skip(struct json *json, int depth) {
    struct text text;
    bool whole;
    char kind = json_peek(json);
    switch (kind) {
    case '{':
    case '[': {
        if (depth == DEEPEST) return false;
        int more = json_open(json, kind, &text);
        while (more > 0) {
            if (!skip(json, depth + 1)) return false;
            more = json_more(json, kind, &text);
        }
        return more == 0;
    }
    case '"': return json_text(json, &text);
    case 't': return word(json, "true");
    case 'f': return word(json, "false");
    case 'n': return word(json, "null");
    default: return number(json, &whole);
    }
}

bool json_skip(struct json *json) { return skip(json, 0); }

char *json_quote(char *out, struct text text) {
    static const char hex[] = "0123456789abcdef";
    *out++ = '"';
    for (size_t i = 0; i < text.length; i++) {
        unsigned char c = (unsigned char)text.at[i];
        if (c == '"' || c == '\\') {
            *out++ = '\\';
            *out++ = (char)c;
        } else if (c < 0x20) {
            memcpy(out, "\\u00", 4);
            out[4] = hex[c >> 4];
            out[5] = hex[c & 15];
            out += 6;
        } else {
            *out++ = (char)c;
        }
    }
    *out++ = '"';
    return out;
}
