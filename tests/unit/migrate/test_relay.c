/* A job's stdio: streams with offsets that lose and repeat nothing, over acknowledgements and moves. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "migrate/chan.h"
#include "migrate/job_relay.h"

Test(relay, output_is_kept_until_acknowledged)
{
	struct relay r;
	int end;

	relay_init(&r);
	cr_assert_eq(relay_out_open(&r.out, &end), 0);
	cr_expect_eq(write(end, "hello world", 11), 11);
	relay_out_pull(&r.out);
	cr_expect_eq(r.out.len, 11);
	cr_expect_eq(relay_out_ack(&r.out, 6), 0);
	cr_expect_eq(r.out.start, 6);
	cr_expect_eq(memcmp(r.out.buf, "world", 5), 0);
	cr_expect_eq(relay_out_ack(&r.out, 5), -EINVAL, "what was acknowledged is gone");
	cr_expect_eq(relay_out_ack(&r.out, 12), -EINVAL, "nobody can have that yet");
	cr_expect_eq(relay_out_end(&r.out), 11);
	close(end);
	relay_out_pull(&r.out);
	cr_expect(relay_out_ended(&r.out));
	cr_expect_eq(relay_out_ack(&r.out, 11), 0);
	cr_expect_eq(r.out.len, 0);
	relay_release(&r);
}

Test(relay, a_full_buffer_stops_the_job_and_a_drain_takes_all)
{
	char block[4096];
	size_t sent = 0;
	struct relay r;
	ssize_t n;
	int end;

	memset(block, 'x', sizeof(block));
	relay_init(&r);
	cr_assert_eq(relay_out_open(&r.out, &end), 0);
	fcntl(end, F_SETFL, O_NONBLOCK);
	do {
		n = write(end, block, sizeof(block));
		sent += n > 0 ? (size_t)n : 0;
		relay_out_pull(&r.out);
	} while (n > 0);
	cr_expect_eq(r.out.len, RELAY_BUFFER);
	cr_expect_gt(sent, RELAY_BUFFER);
	cr_expect_eq(relay_out_drain(&r.out), 0);
	cr_expect_eq(r.out.len, sent);
	close(end);
	relay_release(&r);
}

Test(relay, input_goes_where_it_belongs)
{
	struct relay r;
	char buf[32];
	int end;

	relay_init(&r);
	cr_assert_eq(relay_in_open(&r.in, &end), 0);
	cr_expect_eq(relay_in_put(&r.in, 3, "x", 1, false), -EINVAL, "0 is due");
	cr_expect_eq(relay_in_put(&r.in, 0, "abc", 3, false), 0);
	cr_expect_eq(relay_in_put(&r.in, 3, "def", 3, false), -EAGAIN, "not finished with the last");
	cr_expect(relay_in_push(&r.in));
	cr_expect_eq(r.in.off, 3);
	cr_expect_eq(relay_in_unread(&r.in, buf, sizeof(buf)), 3);
	cr_expect_eq(memcmp(buf, "abc", 3), 0);
	cr_expect_eq(read(end, buf, sizeof(buf)), 3, "a look does not take");
	cr_expect_eq(relay_in_unread(&r.in, buf, sizeof(buf)), 0);
	cr_expect_eq(relay_in_put(&r.in, 3, "de", 2, true), 0);
	cr_expect(relay_in_push(&r.in));
	cr_expect(r.in.ended);
	/* Our end is closed; what the job has not read is found through the one who can read it: here, this process. */
	cr_expect_eq(relay_in_unread(&r.in, buf, sizeof(buf)), 2);
	cr_expect_eq(read(end, buf, sizeof(buf)), 2);
	cr_expect_eq(read(end, buf, sizeof(buf)), 0);
	close(end);
	relay_release(&r);
}

Test(relay, nobody_reads_the_input_any_more)
{
	struct relay r;
	int end;

	signal(SIGPIPE, SIG_IGN);
	relay_init(&r);
	cr_assert_eq(relay_in_open(&r.in, &end), 0);
	close(end);
	cr_expect_eq(relay_in_put(&r.in, 0, "abc", 3, false), 0);
	cr_expect(relay_in_push(&r.in));
	cr_expect(r.in.broken);
	cr_expect_eq(r.in.off, 0);
	relay_release(&r);
}

Test(chan, packets_keep_their_bounds_and_carry_a_descriptor)
{
	struct job_packet *out = calloc(1, sizeof(*out)), *in = calloc(1, sizeof(*in));
	int pair[2], fd = -1, none = 5;

	cr_assert(out && in && socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) == 0);
	cr_expect_eq(chan_recv(pair[0], in, &fd), -EAGAIN);
	out->op = JOB_READ;
	out->arg[7] = -9;
	out->len[0] = 5;
	out->len[1] = 6;
	memcpy(out->data, "hello world", 11);
	cr_assert_eq(chan_send(pair[1], out, STDIN_FILENO), 0);
	cr_assert_eq(chan_recv(pair[0], in, &fd), 0);
	cr_expect(in->op == JOB_READ && in->arg[7] == -9 && in->len[1] == 6 && !memcmp(in->data, "hello world", 11));
	cr_expect_geq(fd, 0);
	cr_expect(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	close(fd);
	cr_assert_eq(chan_send(pair[1], out, -1), 0);
	cr_assert_eq(chan_recv(pair[0], in, &none), 0);
	cr_expect_eq(none, -1);
	cr_expect_eq(send(pair[1], out, 20, 0), 20);
	cr_expect_eq(chan_recv(pair[0], in, &fd), -EBADMSG, "shorter than a header");
	out->len[0] = 7; /* says more than it has */
	cr_expect_gt(send(pair[1], out, offsetof(struct job_packet, data) + 11, 0), 0);
	cr_expect_eq(chan_recv(pair[0], in, &fd), -EBADMSG);
	out->len[0] = JOB_STREAM_CHUNK + 1;
	cr_expect_gt(send(pair[1], out, offsetof(struct job_packet, data) + 11, 0), 0);
	cr_expect_eq(chan_recv(pair[0], in, &fd), -EBADMSG);
	close(pair[1]);
	cr_expect_eq(chan_recv(pair[0], in, &fd), -ECONNRESET);
	close(pair[0]);
	free(out);
	free(in);
}
