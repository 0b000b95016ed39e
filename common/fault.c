/* The table of armed faults is read from the environment at the first visit; visits are counted with atomics. */
#include "common/fault.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "common/log.h"

static const char *const point_names[] = {
#define FAULT_POINT(name, where) #name,
#include "common/faults.def"
#undef FAULT_POINT
};

struct armed {
	int action; /* > 0 a signal, < 0 an errno, 0 not armed */
	atomic_int countdown;
};

static struct armed armed[FAULT_POINTS];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void arm(char *spec)
{
	char *name = strsep(&spec, ":"), *action = strsep(&spec, ":");

	for (size_t i = 0; action && i < ARRAY_LEN(point_names); i++) {
		if (strcmp(point_names[i], name))
			continue;
		armed[i].action = !strcmp(action, "kill")	   ? SIGKILL :
				  !strcmp(action, "stop")	   ? SIGSTOP :
				  !strncmp(action, "fail=", 5) ? -atoi(action + 5) :
								 0;
		atomic_store(&armed[i].countdown, spec ? atoi(spec) : 1);
		if (armed[i].action)
			return;
	}
	log_error("fault", "CFS_FAULT: no such point or action: %s", name);
}

static void arm_all(void)
{
	const char *env = getenv("CFS_FAULT");
	char *copy = env ? strdup(env) : NULL, *rest = copy;

	for (char *spec; rest && (spec = strsep(&rest, ","));)
		arm(spec);
	free(copy);
}

int fault_hit(enum fault_point point)
{
	struct armed *a = &armed[point];

	pthread_once(&once, arm_all);
	if (!a->action || atomic_fetch_sub(&a->countdown, 1) != 1)
		return 0;
	log_warn("fault", "%s strikes", point_names[point]);
	if (a->action < 0)
		return a->action;
	raise(a->action);
	return 0;
}
