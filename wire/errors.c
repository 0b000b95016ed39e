/* Both directions of errors.def; the compiler refuses a number or an errno given twice. */
#include "wire/errors.h"

#include <errno.h>

enum {
#define ERR(number, name) STATUS_##name = number,
#include "wire/errors.def"
#undef ERR
};

uint16_t wire_status_from_errno(int err)
{
	switch (-err) {
	case 0:
		return 0;
#define ERR(number, name) \
	case name:        \
		return STATUS_##name;
#include "wire/errors.def"
#undef ERR
	default:
		return STATUS_EIO;
	}
}

int wire_status_to_errno(uint16_t status)
{
	switch (status) {
	case 0:
		return 0;
#define ERR(number, name)    \
	case STATUS_##name:  \
		return -name;
#include "wire/errors.def"
#undef ERR
	default:
		return -EIO;
	}
}
