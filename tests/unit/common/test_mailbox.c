/* Letters between threads, and the worker made of them. With many threads at once: tests/race. */
#include "common/mailbox.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/worker.h"

enum { MANY = 20000 };

static uv_loop_t loop;
static struct mailbox *mb;
static pthread_t home;

static void up(void)
{
	uv_loop_init(&loop);
	cr_assert_eq(mailbox_new(&loop, &mb), 0);
	home = pthread_self();
}

static void down(void)
{
	mailbox_free(mb);
	uv_run(&loop, UV_RUN_DEFAULT);
	cr_assert_eq(uv_loop_close(&loop), 0);
}

TestSuite(mailbox, .init = up, .fini = down, .timeout = 30);

static unsigned long seen[MANY];
static unsigned nr_seen;

static void note(void *arg)
{
	cr_assert(pthread_equal(pthread_self(), home));
	seen[nr_seen++] = (unsigned long)arg;
}

static void *write_letters(void *arg)
{
	(void)arg;
	for (unsigned long i = 0; i < MANY; i++)
		cr_assert_eq(mailbox_post(mb, note, (void *)i), 0);
	return NULL;
}

static void expect_all_in_order(void)
{
	cr_assert_eq(nr_seen, (unsigned)MANY);
	for (unsigned long i = 0; i < MANY; i++)
		cr_assert_eq(seen[i], i);
}

Test(mailbox, letters_arrive_in_order_on_the_loops_thread)
{
	pthread_t writer;

	cr_assert_eq(pthread_create(&writer, NULL, write_letters, NULL), 0);
	while (nr_seen < MANY)
		uv_run(&loop, UV_RUN_ONCE);
	pthread_join(writer, NULL);
	expect_all_in_order();
}

static void write_one_more(void *arg)
{
	if (arg)
		mailbox_post(mb, write_one_more, (char *)arg - 1);
	nr_seen++;
}

Test(mailbox, a_letter_may_answer_itself)
{
	mailbox_post(mb, write_one_more, (void *)9);
	while (nr_seen < 10)
		uv_run(&loop, UV_RUN_ONCE);
	cr_assert_eq(nr_seen, 10u);
}

Test(mailbox, what_is_left_is_delivered_at_the_end_and_what_that_makes_too)
{
	mailbox_post(mb, write_one_more, (void *)9);
	mailbox_free(mb);
	cr_assert_eq(nr_seen, 10u);
	uv_run(&loop, UV_RUN_DEFAULT);
	mailbox_free(NULL);
	cr_assert_eq(mailbox_new(&loop, &mb), 0); /* for down() */
}

/* ---- the worker ---- */

static struct worker *worker;

static void work(void *arg)
{
	cr_assert_not(pthread_equal(pthread_self(), home));
	while (worker_back(worker, note, arg) < 0)
		;
}

Test(mailbox, a_worker_does_one_thing_after_the_other_elsewhere)
{
	cr_assert_eq(worker_new(&loop, &worker), 0);
	for (unsigned long i = 0; i < MANY; i++)
		cr_assert_eq(worker_do(worker, work, (void *)i), 0);
	while (nr_seen < MANY)
		uv_run(&loop, UV_RUN_ONCE);
	expect_all_in_order();
	worker_free(worker);
}

static void work_slowly(void *arg)
{
	usleep(20000);
	work(arg);
}

Test(mailbox, a_worker_ends_when_all_is_done_and_told)
{
	cr_assert_eq(worker_new(&loop, &worker), 0);
	for (unsigned long i = 0; i < 5; i++)
		cr_assert_eq(worker_do(worker, work_slowly, (void *)i), 0);
	worker_free(worker);
	cr_assert_eq(nr_seen, 5u);
	worker_free(NULL);
}
