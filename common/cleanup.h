/* Scope guards: what a scope owns is released when the scope ends (gcc/clang cleanup attribute). */
#ifndef CFS_COMMON_CLEANUP_H
#define CFS_COMMON_CLEANUP_H

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_free_p(void *pp)
{
	free(*(void **)pp);
}

static inline void cleanup_close_p(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void cleanup_unlock_p(pthread_mutex_t **m)
{
	if (*m)
		pthread_mutex_unlock(*m);
}

static inline pthread_mutex_t *cleanup_lock(pthread_mutex_t *m)
{
	pthread_mutex_lock(m);
	return m;
}

#define _cleanup_free_ __attribute__((cleanup(cleanup_free_p)))
#define _cleanup_close_ __attribute__((cleanup(cleanup_close_p)))
/* Holds MUTEX until the end of the enclosing scope. */
#define LOCK_SCOPE(mutex)                                                                                   \
	__attribute__((cleanup(cleanup_unlock_p), unused)) pthread_mutex_t *lock_scope_ = cleanup_lock(mutex)

/* Moves ownership of a pointer out of a guarded variable. */
#define TAKE_PTR(p)                    \
	({                             \
		typeof(p) take_ = (p); \
		(p) = NULL;            \
		take_;                 \
	})

#define TAKE_FD(fd)                \
	({                         \
		int take_ = (fd);  \
		(fd) = -1;         \
		take_;             \
	})

#endif
