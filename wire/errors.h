/* The status of a reply: our own numbers on the wire (errors.def), negative errno everywhere else. */
#ifndef CFS_WIRE_ERRORS_H
#define CFS_WIRE_ERRORS_H

#include <stdint.h>

/* 0 or a negative errno -> number on the wire. One that has none travels as EIO. */
uint16_t wire_status_from_errno(int err);
/* The way back. A number of a newer version reads as -EIO. */
int wire_status_to_errno(uint16_t status);

#endif
