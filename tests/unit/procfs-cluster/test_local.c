/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Against the real /proc, with processes of our own; in a pid namespace of their own when root. */
#include "procfs-cluster/local.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cluster/jobs.h"
#include "procfs-cluster/files.h"
#include "procfs-cluster/rewrite.h"
#include "procfs-cluster/scan.h"
#include "writer.h"

#define NODE 3

static char dir[64];
static struct local *l;
static struct wire_writer w;

static void setup(void)
{
	struct local_conf conf = { .proc_dir = "/proc", .state_dir = dir, .node_id = NODE };

	strcpy(dir, "/tmp/cfs-local-XXXXXX");
	cr_assert(mkdtemp(dir));
	cr_assert_eq(local_new(&conf, &l), 0);
	wire_writer_init(&w);
}

static void teardown(void)
{
	char cmd[128];

	local_free(l);
	wire_writer_release(&w);
	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", dir);
	cr_assert_eq(system(cmd), 0);
}

TestSuite(local, .init = setup, .fini = teardown);

static uint32_t self(void)
{
	return cpid_make(NODE, (uint32_t)getpid());
}

/* The record of CPID in the writer; false when there is none. */
static bool find_record(uint32_t cpid, struct scan_proc *ret)
{
	struct wire_reader r = { w.buf, w.buf + w.len };
	bool found = false;
	struct scan_proc p;
	int got;

	while ((got = scan_get(&r, &p)) > 0)
		if (p.cpid == cpid) {
			cr_assert(!found, "twice");
			found = true;
			*ret = p;
		}
	cr_assert_eq(got, 0);
	return found;
}

static uint64_t field_number(struct text stat, unsigned field)
{
	struct text f;
	uint64_t v;

	cr_assert(stat_field(stat, field, &f) && text_u64(f, &v));
	return v;
}

Test(local, scan_has_this_process)
{
	uint32_t files = 1u << PROC_FILE_stat | 1u << PROC_FILE_cmdline | 1u << PROC_FILE_status | 1u << PROC_FILE_maps, next = 9;
	struct scan_proc p;

	cr_assert_eq(local_scan(l, files, 0, 1 << 20, &w, &next), 0);
	cr_assert_eq(next, 0u);
	cr_assert(find_record(self(), &p));
	cr_assert_eq(p.pid, (uint32_t)getpid());
	cr_assert_eq(p.uid, geteuid());
	cr_assert_eq(p.nr_files, 3u, "maps is no file for scans");
	cr_assert_eq(field_number(p.files[0].text, 4), cpid_make(NODE, (uint32_t)getppid()));
	cr_assert_gt(text_len(p.files[1].text), 0u);
	cr_assert(find_record(cpid_make(NODE, 1), &p));
}

Test(local, scan_in_pieces_is_the_same)
{
	size_t pieces = 0, records = 0;
	uint32_t after = 0, last = 0;
	struct scan_proc p;

	do {
		struct wire_reader r;
		int got;

		w.len = 0;
		cr_assert_eq(local_scan(l, 1u << PROC_FILE_stat, after, 600, &w, &after), 0);
		r = (struct wire_reader){ w.buf, w.buf + w.len };
		while ((got = scan_get(&r, &p)) > 0) {
			cr_assert_gt(p.pid, last);
			last = p.pid;
			records++;
		}
		cr_assert_eq(got, 0);
		pieces++;
	} while (after);
	cr_assert_gt(records, 2u);
	cr_assert_gt(pieces, 1u);
}

Test(local, errors_are_part_of_a_scan)
{
	struct scan_proc p;
	uint32_t next;
	pid_t zombie = fork();

	if (!zombie)
		_exit(0);
	cr_assert_eq(waitid(P_PID, (id_t)zombie, NULL, WEXITED | WNOWAIT), 0);
	cr_assert_eq(local_scan(l, 1u << PROC_FILE_environ | 1u << PROC_FILE_comm, 0, 1 << 20, &w, &next), 0);
	cr_assert(find_record(cpid_make(NODE, (uint32_t)zombie), &p));
	cr_assert_eq(p.nr_files, 2u);
	cr_assert_eq(p.files[1].number, PROC_FILE_environ);
	cr_assert(p.files[1].state == SCAN_GONE || text_len(p.files[1].text) == 0);
	waitpid(zombie, NULL, 0);
}

Test(local, node_files)
{
	struct wire_reader r;
	unsigned number;
	struct text t;

	cr_assert_eq(local_node(l, 1u << NODE_FILE_uptime | 1u << NODE_FILE_loadavg | 1u << 31, &w), 0);
	r = (struct wire_reader){ w.buf, w.buf + w.len };
	cr_assert_eq(scan_get_node(&r, &number, &t), 1);
	cr_assert_eq(number, NODE_FILE_loadavg);
	cr_assert_eq(scan_get_node(&r, &number, &t), 1);
	cr_assert_eq(number, NODE_FILE_uptime);
	cr_assert_gt(text_len(t), 3u);
	cr_assert_eq(scan_get_node(&r, &number, &t), 0);
}

Test(local, single_files_links_and_directories)
{
	char exe[4096] = "", fd[16];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);

	cr_assert_gt(n, 0);
	cr_assert_eq(local_read(l, self(), 0, 0, "exe", &w), 0);
	cr_assert_str_eq(writer_str(&w), exe);
	w.len = 0;
	cr_assert_eq(local_read(l, self(), 0, 0, "comm", &w), 0);
	cr_assert_gt(w.len, 1u);
	w.len = 0;
	cr_assert_eq(local_read(l, self(), 0, 0, "maps", &w), 0);
	cr_assert(strstr(writer_str(&w), "[stack]"));
	w.len = 0;
	cr_assert_eq(local_read(l, self(), 0, 0, "fd", &w), 0);
	cr_assert(memmem(w.buf, w.len, "\0001\0", 3));
	w.len = 0;
	snprintf(fd, sizeof(fd), "fd/%d", dup(1));
	cr_assert_eq(local_read(l, self(), 0, 0, fd, &w), 0);
	cr_assert_gt(w.len, 1u);
	w.len = 0;
	cr_assert_eq(local_read(l, self(), 0, 0, "fdinfo/1", &w), 0);
	cr_assert(strstr(writer_str(&w), "flags:"));
}

Test(local, paths_are_taken_apart_strictly)
{
	static const char *const bad[] = { "", "/", "mem", "..", "../1/stat", "fd/..", "fd/1/2", "stat/", "stat/1", "fd/",
					   "fd/x", "fd/-1", "fd/99999999999", "task/1", "task/1/mem", "task/1/fd",
					   "task/1/../stat", "exe/1", "fd//1", "statx" };

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		cr_expect_eq(local_read(l, self(), 0, 0, bad[i], &w), -ENOENT, "%s", bad[i]);
	cr_assert_eq(w.len, 0u);
}

Test(local, strangers_may_not)
{
	uint32_t stranger = geteuid() + 12345;

	cr_assert_eq(local_read(l, self(), stranger, getegid(), "maps", &w), -EACCES);
	cr_assert_eq(local_read(l, self(), stranger, getegid(), "environ", &w), -EACCES);
	cr_assert_eq(local_read(l, self(), stranger, getegid(), "fd/1", &w), -EACCES);
	cr_assert_eq(local_read(l, self(), stranger, getegid(), "stat", &w), 0);
	cr_assert_eq(local_read(l, self(), stranger, getegid(), "mountinfo", &w), 0);
	w.len = 0;
	cr_assert_eq(local_read(l, self(), stranger, getegid(), "wchan", &w), 0);
	cr_assert_str_eq(writer_str(&w), "0");
	cr_assert_eq(local_read(l, self(), geteuid(), getegid(), "maps", &w), 0);
	cr_assert_eq(local_read(l, self(), stranger, getegid(), "fdinfo/0", &w), -EACCES);
	if (geteuid())
		cr_assert_eq(local_read(l, self(), geteuid(), getegid() + 1, "maps", &w), -EACCES, "the group counts, too");
}

Test(local, the_absent)
{
	struct local_place place;

	cr_assert_eq(local_read(l, cpid_make(NODE, 4194303), 0, 0, "stat", &w), -ESRCH);
	cr_assert_eq(local_read(l, cpid_make(NODE + 1, (uint32_t)getpid()), 0, 0, "stat", &w), -ESRCH);
	cr_assert_eq(local_where(l, cpid_make(NODE, 4194303), &place), -ESRCH);
	cr_assert_eq(local_where(l, self(), &place), 0);
	cr_assert_eq(place.node, NODE);
	cr_assert_eq(place.pid, (uint32_t)getpid());
	cr_assert_eq(place.uid, geteuid());
}

Test(local, the_departed)
{
	uint32_t cpid = self();
	struct away away = { .id = "3-1", .node = 2, .nr_cpids = 1, .cpids = &cpid };
	struct local_place place;

	cr_assert_eq(away_write(dir, &away), 0);
	cr_assert_eq(local_where(l, cpid, &place), 0);
	cr_assert_eq(place.node, 2u);
	cr_assert_eq(place.pid, 0u);
	cr_assert_eq(away_remove(dir, "3-1"), 0);
	cr_assert_eq(local_where(l, cpid, &place), 0);
	cr_assert_eq(place.node, NODE);
}

Test(local, a_plain_pid_follows_the_departed)
{
	uint32_t left = cpid_make(NODE, 4194303), cpid, tid;
	struct away away = { .id = "3-2", .node = 2, .nr_cpids = 1, .cpids = &left };

	cr_assert_eq(local_resolve(l, 4194303, (uint32_t)getpid(), &cpid, &tid), -ESRCH);
	cr_assert_eq(away_write(dir, &away), 0);
	cr_assert_eq(local_resolve(l, 4194303, (uint32_t)getpid(), &cpid, &tid), 0);
	cr_assert_eq(cpid, left);
}

static void *sleep_thread(void *tid)
{
	*(pid_t *)tid = (pid_t)syscall(SYS_gettid);
	pause();
	return NULL;
}

Test(local, threads)
{
	volatile pid_t tid = 0;
	uint32_t cpid, tcpid;
	char path[64];
	pthread_t thread;

	cr_assert_eq(pthread_create(&thread, NULL, sleep_thread, (void *)&tid), 0);
	while (!tid)
		usleep(1000);
	cr_assert_eq(local_read(l, self(), 0, 0, "task", &w), 0);
	cr_assert_eq((uint32_t)atoi((char *)w.buf), self());
	snprintf(path, sizeof(path), "task/%u/stat", cpid_make(NODE, (uint32_t)tid));
	w.len = 0;
	cr_assert_eq(local_read(l, self(), 0, 0, path, &w), 0);
	cr_assert_eq((uint32_t)atoi(writer_str(&w)), cpid_make(NODE, (uint32_t)tid));
	cr_assert_eq(local_resolve(l, 0, (uint32_t)tid, &cpid, &tcpid), 0);
	cr_assert_eq(cpid, self());
	cr_assert_eq(tcpid, cpid_make(NODE, (uint32_t)tid));
}

/* How many threads of CPID a scan finds, and the record of the last. */
static unsigned scan_threads(uint32_t cpid, struct scan_proc *ret_last)
{
	struct wire_reader r;
	struct scan_proc p;
	unsigned nr = 0;
	uint32_t next;

	w.len = 0;
	cr_assert_eq(local_scan(l, 1u << PROC_FILE_task, 0, 1 << 24, &w, &next), 0);
	cr_assert(find_record(cpid, &p));
	cr_assert_eq(p.nr_files, 1u);
	r = (struct wire_reader){ (const uint8_t *)p.files[0].text.p, (const uint8_t *)p.files[0].text.end };
	while (scan_get(&r, ret_last) > 0)
		nr++;
	return nr;
}

Test(local, scans_have_the_files_of_threads)
{
	volatile pid_t tid = 0;
	struct scan_proc t;
	pthread_t thread;
	pid_t child = fork();
	unsigned before;

	if (!child) {
		pause();
		_exit(0);
	}
	cr_assert_eq(scan_threads(cpid_make(NODE, (uint32_t)child), &t), 1u);
	cr_assert(t.cpid == cpid_make(NODE, (uint32_t)child) && !t.nr_files, "of the only thread they are the process's");
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	before = scan_threads(self(), &t); /* Criterion has some */
	cr_assert_eq(pthread_create(&thread, NULL, sleep_thread, (void *)&tid), 0);
	while (!tid)
		usleep(1000);
	cr_assert_eq(scan_threads(self(), &t), before + 1);
	cr_assert_eq(t.cpid, cpid_make(NODE, (uint32_t)tid));
	cr_assert_eq(t.nr_files, 2u);
	cr_assert_eq(t.files[0].number, PROC_FILE_stat);
	cr_assert_eq((uint32_t)atoi(t.files[0].text.p), t.cpid);
	cr_assert_eq(field_number(t.files[0].text, 4), cpid_make(NODE, (uint32_t)getppid()));
	cr_assert_eq(t.files[1].number, PROC_FILE_status);
	cr_assert_eq(memcmp(t.files[1].text.p, "Name:", 5), 0);
}

Test(local, scans_have_links)
{
	struct scan_proc p;
	char exe[4096];
	uint32_t next;
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe));

	cr_assert_eq(local_scan(l, 1u << PROC_FILE_exe, 0, 1 << 20, &w, &next), 0);
	cr_assert(find_record(self(), &p));
	cr_assert_eq(p.nr_files, 1u);
	cr_assert_eq(text_len(p.files[0].text), (size_t)n);
	cr_assert_eq(memcmp(p.files[0].text.p, exe, (size_t)n), 0);
}

Test(local, plain_pids)
{
	uint32_t cpid, tid;

	cr_assert_eq(local_resolve(l, 0, (uint32_t)getpid(), &cpid, &tid), 0);
	cr_assert(cpid == self() && tid == self());
	cr_assert_eq(local_resolve(l, 1, (uint32_t)getpid(), &cpid, &tid), 0);
	cr_assert_eq(cpid, cpid_make(NODE, 1));
	cr_assert_eq(local_resolve(l, 4194303, (uint32_t)getpid(), &cpid, &tid), -ESRCH);
	cr_assert_eq(local_resolve(l, 1, 4194303, &cpid, &tid), 0, "the caller may be gone already");
	cr_assert_eq(local_resolve(l, 0, 4194303, &cpid, &tid), -ESRCH);
}

Test(local, signals)
{
	uint32_t pid;

	cr_assert_eq(local_may_signal(l, self(), 0, &pid), 0);
	cr_assert_eq(pid, (uint32_t)getpid());
	cr_assert_eq(local_may_signal(l, self(), getuid(), &pid), 0);
	cr_assert_eq(local_may_signal(l, self(), getuid() + 1, &pid), -EPERM);
	cr_assert_eq(local_may_signal(l, cpid_make(NODE, 4194303), 0, &pid), -ESRCH);
}

/* PID 1 of a new namespace: starts one that sleeps, says its pids there, waits. */
static pid_t start_job(int *ret_fd)
{
	int fds[2];
	pid_t pid;

	cr_assert_eq(pipe(fds), 0);
	pid = (pid_t)syscall(SYS_clone, CLONE_NEWPID | SIGCHLD, NULL, NULL, NULL, NULL);
	if (pid < 0)
		return pid;
	if (!pid) {
		pid_t child;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		child = fork();
		if (!child) {
			pause();
			_exit(0);
		}
		if (write(fds[1], &child, sizeof(child)) < 0)
			_exit(1);
		pause();
		_exit(0);
	}
	*ret_fd = fds[0];
	return pid;
}

Test(local, guests_have_their_own_names)
{
	struct job_pid map = { .cpid = cpid_make(1, 4711) };
	struct job job = { .id = "1-4711", .home = 1, .moves = 2, .nr_pids = 1, .pids = &map };
	uint32_t cpid, tid, home, moves, next, host_child;
	struct local_place place;
	struct scan_proc p;
	pid_t child;
	int fd;

	job.root = start_job(&fd);
	if (job.root < 0)
		cr_skip_test("needs the right to make a pid namespace");
	cr_assert_eq(read(fd, &child, sizeof(child)), (ssize_t)sizeof(child));
	map.nspid = (uint32_t)child;
	cr_assert_eq(job_identify(&job), 0);
	cr_assert_eq(job_write(dir, &job), 0);

	cr_assert_eq(local_where(l, map.cpid, &place), 0);
	cr_assert_eq(place.node, NODE);
	host_child = place.pid;
	cr_assert_neq(host_child, (uint32_t)child);
	cr_assert_eq(local_where(l, cpid_make(NODE, host_child), &place), -ESRCH);

	cr_assert_eq(local_scan(l, 1u << PROC_FILE_stat | 1u << PROC_FILE_status, 0, 1 << 20, &w, &next), 0);
	cr_assert(find_record(map.cpid, &p));
	cr_assert_eq(p.pid, host_child);
	cr_assert_eq((uint32_t)atoi(p.files[0].text.p), map.cpid);
	cr_assert_eq(field_number(p.files[0].text, 4), cpid_make(NODE, (uint32_t)job.root));
	cr_assert(!find_record(cpid_make(NODE, host_child), &p));

	/* inside the job its plain pid means itself */
	cr_assert_eq(local_resolve(l, (uint32_t)child, host_child, &cpid, &tid), 0);
	cr_assert_eq(cpid, map.cpid);
	cr_assert_eq(local_resolve(l, 0, host_child, &cpid, &tid), 0);
	cr_assert_eq(cpid, map.cpid);
	cr_assert_eq(tid, map.cpid);
	cr_assert_eq(local_resolve(l, 1, host_child, &cpid, &tid), 0);
	cr_assert_eq(cpid, cpid_make(NODE, (uint32_t)job.root), "born here: named after the node");
	cr_assert_eq(local_resolve(l, 3999999, host_child, &cpid, &tid), -ESRCH);

	cr_assert_eq(local_job(l, map.cpid, &home, &moves), 0);
	cr_assert(home == 1 && moves == 2);
	cr_assert_eq(local_job(l, self(), &home, &moves), -ENOENT);
	kill(job.root, SIGKILL);
	waitpid(job.root, NULL, 0);
	cr_assert_eq(local_where(l, map.cpid, &place), -ESRCH);
}
