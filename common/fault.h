/*
 * Fault points: places where a test makes something fail on purpose.
 *
 * CFS_FAULT=name:action[:nth] arms one (a comma separates several): action `kill` (SIGKILL to the process), `stop`
 * (SIGSTOP) or an errno name's number as `fail=28`; nth (default 1) is the visit at which it strikes, once.
 */
#ifndef CFS_COMMON_FAULT_H
#define CFS_COMMON_FAULT_H

enum fault_point {
#define FAULT_POINT(name, where) FAULT_##name,
#include "common/faults.def"
#undef FAULT_POINT
	FAULT_POINTS
};

/* 0, or the negative errno to fail with; may not return at all. Cheap when nothing is armed. */
int fault_hit(enum fault_point point);

#endif
