/* Threads with a lock, a condition and thread-local data: no lost wake-up, no lost count. */
#include <pthread.h>
#include <stdbool.h>
#include <sys/syscall.h>

#include "tests/migrate/mover.h"

#define THREADS 8

struct shared {
	pthread_mutex_t lock;
	pthread_cond_t turn_changed;
	int turn;
	long rounds;
	double end;
	bool over;
};

struct player {
	struct shared *s;
	int nr;
	long played;
};

static __thread long mine;

static void *play(void *arg)
{
	struct player *p = arg;
	struct shared *s = p->s;
	long tid = syscall(SYS_gettid);

	pthread_mutex_lock(&s->lock);
	while (!s->over) {
		if (s->turn != p->nr) {
			pthread_cond_wait(&s->turn_changed, &s->lock);
			continue;
		}
		CHECK(mine == p->played, "thread-local count");
		CHECK(syscall(SYS_gettid) == tid, "tid");
		mine = ++p->played;
		s->rounds++;
		s->turn = (s->turn + 1) % THREADS;
		s->over = mover_now() > s->end;
		pthread_cond_broadcast(&s->turn_changed);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

int main(int argc, char **argv)
{
	struct shared s = { .lock = PTHREAD_MUTEX_INITIALIZER, .turn_changed = PTHREAD_COND_INITIALIZER, .end = mover_end(argc, argv) };
	struct player players[THREADS];
	pthread_t threads[THREADS];
	long sum = 0;

	for (int i = 0; i < THREADS; i++) {
		players[i] = (struct player){ &s, i, 0 };
		CHECK(pthread_create(&threads[i], NULL, play, &players[i]) == 0, "create");
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		sum += players[i].played;
		CHECK(players[i].played >= s.rounds / THREADS, "thread %d was left out", i);
	}
	CHECK(sum == s.rounds && sum > THREADS, "%ld of %ld rounds", sum, s.rounds);
	return mover_pass();
}
