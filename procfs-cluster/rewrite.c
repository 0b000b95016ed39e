/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "procfs-cluster/rewrite.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>

#include "common/bytes.h"

/* stat is `pid (comm) S ppid ...`, and comm may hold anything, brackets and newlines too: the last ")" ends it. */
static int stat_split(struct text in, struct text *ret_pid, struct text *ret_comm, struct text *ret_rest)
{
	const char *open = memchr(in.p, '(', text_len(in)), *close = memrchr(in.p, ')', text_len(in));
	struct text head;

	if (!open || !close || close < open)
		return -EBADMSG;
	head = (struct text){ in.p, open };
	if (!text_word(&head, ret_pid))
		return -EBADMSG;
	*ret_comm = (struct text){ open, close + 1 };
	*ret_rest = (struct text){ close + 1, in.end };
	return 0;
}

static int put_mapped(struct text word, rewrite_map map, void *ctx, struct wire_writer *out)
{
	uint64_t pid;

	/* tpgid is -1 without a terminal */
	if (!text_u64(word, &pid) || pid > UINT32_MAX)
		return text_put(out, word.p, text_len(word));
	return text_printf(out, "%u", pid ? map(ctx, (uint32_t)pid) : 0);
}

int rewrite_stat(struct text in, rewrite_map map, void *ctx, struct wire_writer *out)
{
	struct text pid, comm, rest, word;
	int r = stat_split(in, &pid, &comm, &rest);

	if (r < 0)
		return r;
	put_mapped(pid, map, ctx, out);
	text_put(out, " ", 1);
	text_put(out, comm.p, text_len(comm));
	for (unsigned field = 3; field <= 8; field++) {
		if (!text_word(&rest, &word))
			return -EBADMSG;
		text_put(out, " ", 1);
		if (field == 3 || field == 7) /* state, tty_nr */
			text_put(out, word.p, text_len(word));
		else
			put_mapped(word, map, ctx, out);
	}
	return text_put(out, rest.p, text_len(rest));
}

static bool is_pid_line(struct text key)
{
	static const char *const keys[] = { "Tgid:",   "Ngid:",	 "Pid:",    "PPid:", "TracerPid:",
					    "NStgid:", "NSpid:", "NSpgid:", "NSsid:" };

	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		if (text_is(key, keys[i]))
			return true;
	return false;
}

int rewrite_status(struct text in, rewrite_map map, void *ctx, struct wire_writer *out)
{
	struct text line, rest, key, word;

	if (text_len(in) < 5 || memcmp(in.p, "Name:", 5))
		return -EBADMSG;
	while (text_line(&in, &line)) {
		rest = line;
		/* The name is escaped by the kernel: it cannot make a line of its own. */
		if (text_word(&rest, &key) && is_pid_line(key) && text_word(&rest, &word)) {
			text_printf(out, "%.*s\t", (int)text_len(key), key.p);
			put_mapped(word, map, ctx, out);
			text_put(out, rest.p, text_len(rest));
		} else {
			text_put(out, line.p, text_len(line));
		}
		text_put(out, "\n", 1);
	}
	return out->err;
}

/* do_task_stat() of the kernel: what it prints for who is not permitted. startcode and endcode become 1 when set. */
static const char *hidden(unsigned field, struct text word)
{
	switch (field) {
	case 26:
	case 27:
		return text_is(word, "0") ? "0" : "1";
	case 28: /* startstack */
	case 29: /* kstkesp */
	case 30: /* kstkeip */
	case 45: /* start_data ... env_end */
	case 46:
	case 47:
	case 48:
	case 49:
	case 50:
	case 51:
	case 52: /* exit_code */
		return "0";
	default:
		return NULL;
	}
}

/* Of the fields that are moved, the number to show; false for those that stay, and where it would not fit. */
static bool moved(unsigned field, struct text word, const struct rewrite_view *view, uint64_t *ret)
{
	uint64_t v;

	if ((field != 22 && field != 39) || !text_u64(word, &v))
		return false;
	return !__builtin_add_overflow(v, field == 22 ? view->ticks : (int64_t)view->first_cpu, ret);
}

int rewrite_stat_for_reader(struct text in, const struct rewrite_view *view, struct wire_writer *out)
{
	struct text pid, comm, rest, word;
	uint64_t v;
	int r = stat_split(in, &pid, &comm, &rest);

	if (r < 0)
		return r;
	text_put(out, in.p, (size_t)(comm.end - in.p));
	for (unsigned field = 3; text_word(&rest, &word); field++) {
		const char *h = view->hide ? hidden(field, word) : NULL;

		text_put(out, " ", 1);
		if (h)
			text_put(out, h, strlen(h));
		else if (moved(field, word, view, &v))
			text_printf(out, "%llu", (unsigned long long)v);
		else
			text_put(out, word.p, text_len(word));
	}
	return text_put(out, "\n", 1);
}

bool stat_field(struct text in, unsigned field, struct text *ret)
{
	struct text pid, comm, rest, word;

	if (field < 3 || stat_split(in, &pid, &comm, &rest) < 0)
		return false;
	for (unsigned i = 3; text_word(&rest, &word); i++)
		if (i == field) {
			*ret = word;
			return true;
		}
	return false;
}

bool status_nspid(struct text in, uint32_t *ret_nspid, unsigned *ret_depth)
{
	struct text rest, word;
	uint64_t pid = 0;
	unsigned depth = 0;

	if (!text_find(in, "NSpid:", &rest))
		return false;
	while (text_word(&rest, &word)) {
		if (!text_u64(word, &pid) || pid > UINT32_MAX)
			return false;
		depth++;
	}
	if (!depth)
		return false;
	*ret_nspid = (uint32_t)pid;
	*ret_depth = depth;
	return true;
}

bool status_uids(struct text in, uint32_t ret_uids[4])
{
	struct text rest, word;
	uint64_t uid;

	if (!text_find(in, "Uid:", &rest))
		return false;
	for (int i = 0; i < 4; i++) {
		if (!text_word(&rest, &word) || !text_u64(word, &uid) || uid > UINT32_MAX)
			return false;
		ret_uids[i] = (uint32_t)uid;
	}
	return true;
}

static uint64_t signal_mask(struct text in, const char *key)
{
	struct text rest, word;
	char buf[32];

	if (!text_find(in, key, &rest) || !text_word(&rest, &word) || text_len(word) >= sizeof(buf))
		return 0;
	memcpy(buf, word.p, text_len(word));
	buf[text_len(word)] = 0;
	return strtoull(buf, NULL, 16);
}

bool status_is_signalled(struct text in)
{
	static const int harmless[] = { SIGCHLD, SIGCONT, SIGURG, SIGWINCH };
	uint64_t pending = signal_mask(in, "SigPnd:") | signal_mask(in, "ShdPnd:");

	pending &= ~(signal_mask(in, "SigBlk:") | signal_mask(in, "SigIgn:"));
	for (size_t i = 0; i < ARRAY_LEN(harmless); i++)
		pending &= ~(UINT64_C(1) << (harmless[i] - 1));
	return pending;
}
