#ifndef TACO_CHECK_H
#define TACO_CHECK_H

int check(void);

#endif
