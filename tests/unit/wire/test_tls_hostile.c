/*
 * Peers that keep to TLS and mean no good, or were given certificates that no cluster makes. They are threads with
 * OpenSSL's ordinary blocking client; the server under test runs on the test's loop.
 */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/wire/rpc_fixture.h"
#include "wire/errors.h"
#include "wire/frame.h"
#include "wire/rpc_internal.h"

static struct net net;

static void up(void)
{
	net_init(&net, true);
}

static void down(void)
{
	net_release(&net);
}

TestSuite(hostile, .init = up, .fini = down, .timeout = 60);

/* ---- the other end ---- */

struct peer {
	void (*act)(struct peer *p);
	const char *node; /* whose certificate it shows; NULL: none */
	int receive_buffer;
	SSL *ssl;
	pthread_t thread;
	atomic_uint over;
	int result;
	uint64_t count;
};

static int peer_connect(const struct peer *p)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(net.port) };
	const struct timeval limit = { 20, 0 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (p->receive_buffer)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &p->receive_buffer, sizeof(p->receive_buffer));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static void *peer_thread(void *arg)
{
	struct peer *p = arg;
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	char path[192];
	int fd = peer_connect(p);

	if (p->node) {
		snprintf(path, sizeof(path), "%s/%s/node.crt", net.dir, p->node);
		SSL_CTX_use_certificate_file(ctx, path, SSL_FILETYPE_PEM);
		snprintf(path, sizeof(path), "%s/%s/node.key", net.dir, p->node);
		SSL_CTX_use_PrivateKey_file(ctx, path, SSL_FILETYPE_PEM);
	}
	p->ssl = SSL_new(ctx);
	SSL_set_fd(p->ssl, fd);
	p->result = -1;
	if (fd >= 0 && SSL_connect(p->ssl) == 1)
		p->act(p);
	SSL_free(p->ssl);
	SSL_CTX_free(ctx);
	if (fd >= 0)
		close(fd);
	atomic_store(&p->over, 1);
	return NULL;
}

/* Until it has ended; the server's loop runs meanwhile. */
static void peer_run(struct peer *p)
{
	cr_assert_eq(pthread_create(&p->thread, NULL, peer_thread, p), 0);
	for (int i = 0; i < 5000 && !atomic_load(&p->over); i++)
		run_for(&net, 5);
	cr_assert(atomic_load(&p->over), "the peer does not come to its end");
	pthread_join(p->thread, NULL);
}

static void append(struct wire_writer *w, enum msg_type type, uint64_t id, const void *msg)
{
	struct frame_header h = { .version = WIRE_VERSION, .kind = FRAME_REQUEST, .type = (uint16_t)type, .id = id };
	size_t start = frame_begin(w);

	msg_info((uint16_t)type)->encode_req(w, msg);
	frame_end(w, start, &h);
}

static bool write_all(SSL *ssl, const struct wire_writer *w)
{
	return SSL_write(ssl, w->buf, (int)w->len) == (int)w->len;
}

static bool read_all(SSL *ssl, uint8_t *buf, size_t len)
{
	for (size_t at = 0; at < len;) {
		int n = SSL_read(ssl, buf + at, (int)(len - at));

		if (n <= 0)
			return false;
		at += (size_t)n;
	}
	return true;
}

/* Asks for new keys: TLS answers that by itself. */
static bool ask_for_keys(SSL *ssl)
{
	return SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED) == 1 && SSL_do_handshake(ssl) == 1;
}

/* ---- new keys while answers wait ---- */

enum { BIG = 4 << 20, NR_BIG = 4 };

static void serve_big(void *ctx, struct rpc_conn *conn, struct rpc_req *rq, const void *msg)
{
	uint8_t *bytes = malloc(BIG);

	(void)conn, (void)msg;
	for (size_t i = 0; i < BIG; i++)
		bytes[i] = (uint8_t)(i * 7);
	rpc_reply(rq, 0, &(struct msg_listxattr_rep){ .names = { bytes, BIG } });
	free(bytes);
	++*(unsigned *)ctx;
}

static bool take_big(SSL *ssl)
{
	uint8_t head[FRAME_HEADER_LEN + 4], *body = malloc(BIG);
	struct frame_header h;
	bool ok = read_all(ssl, head, sizeof(head)) && !frame_header_decode(head, WIRE_FRAME_MAX, &h) && h.length == BIG + 4 &&
		  read_all(ssl, body, BIG);

	for (size_t i = 0; ok && i < BIG; i++)
		ok = body[i] == (uint8_t)(i * 7);
	free(body);
	return ok;
}

static void renew_keys(struct peer *p)
{
	uint8_t hello[FRAME_HEADER_LEN];
	struct frame_header h;
	struct wire_writer w;
	char rest[64];

	wire_writer_init(&w);
	append(&w, MSG_hello, 1, &(struct msg_hello_req){ WIRE_VERSION, NET_CLUSTER, 2, RPC_ROLE_CLIENT, "raw" });
	for (uint64_t i = 0; i < NR_BIG; i++)
		append(&w, MSG_listxattr, 2 + i, &(struct msg_listxattr_req){ .ino = 1 });
	p->result = 1;
	if (!write_all(p->ssl, &w))
		p->result = -2;
	wire_writer_release(&w);
	/* The server has answered, and its socket is full. */
	usleep(200000);
	for (int i = 0; i < 40 && p->result > 0; i++)
		if (!ask_for_keys(p->ssl))
			p->result = -3;
	usleep(100000);
	if (p->result > 0 && (!read_all(p->ssl, hello, sizeof(hello)) || frame_header_decode(hello, 64, &h) < 0 ||
			      !read_all(p->ssl, (uint8_t *)rest, h.length)))
		p->result = -4;
	for (int i = 0; i < NR_BIG && p->result > 0; i++)
		if (!take_big(p->ssl))
			p->result = -5;
}

Test(hostile, new_keys_while_answers_wait_for_the_socket)
{
	struct peer p = { .act = renew_keys, .node = "node2", .receive_buffer = 4096 };
	unsigned served = 0;

	rpc_handle(net.server.rpc, MSG_listxattr, serve_big, &served);
	peer_run(&p);
	cr_assert_eq(p.result, 1, "%d", p.result);
	cr_assert_eq(served, (unsigned)NR_BIG);
}

/* ---- new keys for ever, and no answer taken ---- */

static void flood(struct peer *p)
{
	/* Some times what both sockets can hold. */
	for (p->count = 0; p->count < 500000 && ask_for_keys(p->ssl); p->count++)
		;
	p->result = 0;
}

Test(hostile, one_that_only_asks_for_new_keys_is_cut_off)
{
	struct peer p = { .act = flood, .receive_buffer = 4096 };

	net.server.rpc->new_timeout_ms = 120000; /* not for being late */
	peer_run(&p);
	cr_assert_eq(p.result, 0);
	cr_assert_lt(p.count, 500000u, "it could go on for ever");
	cr_assert(dial(&net), "others do not notice");
}

/* ---- certificates ---- */

static void *load_pem(const char *file, void *(*read)(FILE *f))
{
	char path[160];
	FILE *f;
	void *x;

	snprintf(path, sizeof(path), "%s/%s", net.dir, file);
	f = fopen(path, "r");
	cr_assert(f, "%s", path);
	x = read(f);
	cr_assert(x);
	fclose(f);
	return x;
}

static void *read_cert(FILE *f)
{
	return PEM_read_X509(f, NULL, NULL, NULL);
}

static void *read_key(FILE *f)
{
	return PEM_read_PrivateKey(f, NULL, NULL, NULL);
}

/* node2's certificate becomes one with the subject CN, good from FROM to TO seconds from now. The CA signs anything here. */
static void forge(const char *cn, long from, long to)
{
	X509 *ca = load_pem("ca/ca.crt", read_cert), *cert = X509_new();
	EVP_PKEY *ca_key = load_pem("ca/ca.key", read_key), *key = load_pem("node2/node.key", read_key);
	char path[160];
	FILE *f;

	X509_set_version(cert, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), 7);
	X509_gmtime_adj(X509_getm_notBefore(cert), from);
	X509_gmtime_adj(X509_getm_notAfter(cert), to);
	X509_set_pubkey(cert, key);
	if (*cn)
		X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1, -1, 0);
	X509_set_issuer_name(cert, X509_get_subject_name(ca));
	cr_assert_gt(X509_sign(cert, ca_key, EVP_sha256()), 0);
	snprintf(path, sizeof(path), "%s/node2/node.crt", net.dir);
	f = fopen(path, "w");
	PEM_write_X509(f, cert);
	fclose(f);
	X509_free(ca);
	X509_free(cert);
	EVP_PKEY_free(ca_key);
	EVP_PKEY_free(key);
}

/* Says hello as node 2 and notes the status of the answer; 1 when there is none. */
static void say_hello(struct peer *p)
{
	uint8_t bytes[FRAME_HEADER_LEN];
	struct frame_header h;
	struct wire_writer w;

	wire_writer_init(&w);
	append(&w, MSG_hello, 1, &(struct msg_hello_req){ WIRE_VERSION, NET_CLUSTER, 2, RPC_ROLE_NODE, "raw" });
	p->result = 1;
	if (write_all(p->ssl, &w) && read_all(p->ssl, bytes, sizeof(bytes)) && !frame_header_decode(bytes, 1024, &h))
		p->result = wire_status_to_errno(h.status);
	wire_writer_release(&w);
}

static int hello_with(const char *cn, long from, long to)
{
	struct peer p = { .act = say_hello, .node = "node2" };

	forge(cn, from, to);
	peer_run(&p);
	return p.result;
}

Test(hostile, a_subject_that_is_not_exactly_the_number_proves_nothing)
{
	static const char *const names[] = { "2 ", " 2", "+2", "2x", "0x2", "4294967298", "18446744073709551618", "node2", "-2", "" };

	cr_assert_eq(hello_with("2", -100, 100), 0);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		cr_assert_eq(hello_with(names[i], -100, 100), -EKEYREJECTED, "'%s'", names[i]);
	cr_assert_eq(net.server.seen.nr_up, 1u);
}

Test(hostile, a_certificate_of_another_time_is_refused)
{
	cr_assert_eq(hello_with("2", -200, -100), 1);
	cr_assert_eq(hello_with("2", 100, 200), 1);
	cr_assert_eq(net.server.seen.nr_up, 0u);
	cr_assert(dial(&net));
}

static void say_nothing(struct peer *p)
{
	p->result = 0;
}

Test(hostile, a_handshake_left_in_the_middle_harms_nobody)
{
	/* A ClientHello's beginning, then nothing, then the end. */
	static const uint8_t half[] = { 0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03 };
	struct peer p = { .act = say_nothing };
	int fd = peer_connect(&p);

	cr_assert_eq(send(fd, half, sizeof(half), 0), (ssize_t)sizeof(half));
	run_for(&net, 50);
	cr_assert(dial(&net));
	close(fd);
	run_for(&net, 20);
	peer_run(&p); /* a whole one, closed at once */
	cr_assert_eq(p.result, 0);
	cr_assert(dial(&net));
}
