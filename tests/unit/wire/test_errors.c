/* Status numbers and errnos: one to one where listed, EIO otherwise. */
#include "wire/errors.h"

#include <criterion/criterion.h>
#include <errno.h>

struct row {
	uint16_t number;
	int err;
};

static const struct row rows[] = {
#define ERR(number, name) { number, name },
#include "wire/errors.def"
#undef ERR
};

enum { NR_ROWS = sizeof(rows) / sizeof(rows[0]) };

Test(errors, success_is_zero)
{
	cr_assert_eq(wire_status_from_errno(0), 0);
	cr_assert_eq(wire_status_to_errno(0), 0);
}

Test(errors, every_row_both_ways)
{
	for (size_t i = 0; i < NR_ROWS; i++) {
		cr_assert_eq(wire_status_from_errno(-rows[i].err), rows[i].number, "errno %d", rows[i].err);
		cr_assert_eq(wire_status_to_errno(rows[i].number), -rows[i].err, "number %u", rows[i].number);
	}
}

Test(errors, the_unknown_is_an_io_error)
{
	uint16_t eio = wire_status_from_errno(-EIO);

	cr_assert_eq(wire_status_from_errno(-EDOTDOT), eio);
	cr_assert_eq(wire_status_from_errno(-4095), eio);
	cr_assert_eq(wire_status_from_errno(5), eio, "a positive result is not an error anybody may send");
	cr_assert_eq(wire_status_to_errno(0xffff), -EIO);
	cr_assert_eq(wire_status_to_errno(63), -EIO);
}

/* Upper layers depend on these coming through. */
Test(errors, what_the_protocol_needs_has_a_number)
{
	static const int needed[] = { EREMCHG,	    ESTALE, ENOTCONN, ENOSPC,	  EDQUOT,     EPERM,	   ESRCH,
				      EHOSTUNREACH, EBUSY,  ETIMEDOUT, EAGAIN,	  EOPNOTSUPP, EKEYREJECTED, EKEYEXPIRED,
				      EPROTONOSUPPORT };

	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
		cr_assert_eq(wire_status_to_errno(wire_status_from_errno(-needed[i])), -needed[i]);
}
