/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "procfs-cluster/aggregate.h"

#include <stdio.h>

#include "common/bytes.h"
#include "procfs-cluster/files.h"

#define COLUMNS_MAX 32

/* The numbers that follow a key, added up over all nodes. */
static size_t sum_columns(const struct aggregate_part *parts, size_t nr, const char *key, uint64_t sums[COLUMNS_MAX])
{
	size_t columns = 0;

	memset(sums, 0, COLUMNS_MAX * sizeof(*sums));
	for (size_t i = 0; i < nr; i++) {
		struct text rest, word;
		size_t n = 0;
		uint64_t v;

		if (!text_find(parts[i].text, key, &rest))
			continue;
		for (; n < COLUMNS_MAX && text_word(&rest, &word) && text_u64(word, &v); n++)
			sums[n] += v;
		columns = n > columns ? n : columns;
	}
	return columns;
}

static void put_sums(const struct aggregate_part *parts, size_t nr, const char *key, size_t max, struct wire_writer *out)
{
	uint64_t sums[COLUMNS_MAX];
	size_t n = sum_columns(parts, nr, key, sums);

	if (!n)
		return;
	text_put(out, key, strlen(key));
	/* the kernel puts two blanks after the first "cpu" */
	if (!strcmp(key, "cpu"))
		text_put(out, " ", 1);
	for (size_t i = 0; i < n && i < max; i++)
		text_printf(out, " %llu", (unsigned long long)sums[i]);
	text_put(out, "\n", 1);
}

static bool is_cpu_line(struct text key)
{
	return text_len(key) > 3 && !memcmp(key.p, "cpu", 3) && key.p[3] >= '0' && key.p[3] <= '9';
}

uint64_t aggregate_btime(struct text stat)
{
	struct text rest, word;
	uint64_t t = 0;

	if (!text_find(stat, "btime", &rest) || !text_word(&rest, &word) || !text_u64(word, &t))
		return 0;
	return t;
}

unsigned aggregate_cpus(struct text stat)
{
	struct text line, key;
	unsigned n = 0;

	while (text_line(&stat, &line))
		n += text_word(&line, &key) && is_cpu_line(key);
	return n;
}

int aggregate_stat(const struct aggregate_part *parts, size_t nr, struct wire_writer *out)
{
	uint64_t btime = 0;
	unsigned cpu = 0;

	put_sums(parts, nr, "cpu", COLUMNS_MAX, out);
	for (size_t i = 0; i < nr; i++) {
		struct text t = parts[i].text, line, key;
		uint64_t b = aggregate_btime(t);

		if (b && (!btime || b < btime))
			btime = b;
		while (text_line(&t, &line))
			if (text_word(&line, &key) && is_cpu_line(key))
				text_printf(out, "cpu%u%.*s\n", cpu++, (int)text_len(line), line.p);
	}
	put_sums(parts, nr, "intr", 1, out);
	put_sums(parts, nr, "ctxt", 1, out);
	text_printf(out, "btime %llu\n", (unsigned long long)btime);
	put_sums(parts, nr, "processes", 1, out);
	put_sums(parts, nr, "procs_running", 1, out);
	put_sums(parts, nr, "procs_blocked", 1, out);
	put_sums(parts, nr, "softirq", COLUMNS_MAX, out);
	return out->err;
}

/* True when an earlier part has the key, so that its line is already written. */
static bool key_in_parts(const struct aggregate_part *parts, size_t nr, const char *key)
{
	struct text rest;

	for (size_t i = 0; i < nr; i++)
		if (text_find(parts[i].text, key, &rest))
			return true;
	return false;
}

/* Right-aligned to where the kernel's own number ended, which its formats pad differently from key to key. */
static void put_key(struct wire_writer *out, struct text key, struct text number, uint64_t v)
{
	int width = (int)(number.end - key.end);
	char digits[24];
	int n = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)v);

	text_put(out, key.p, text_len(key));
	text_printf(out, "%*s", n < width ? width : n + 1, digits);
}

/* Lines of one key, one number and perhaps a unit. */
static int sum_by_key(const struct aggregate_part *parts, size_t nr, struct wire_writer *out)
{
	uint64_t sums[COLUMNS_MAX];

	for (size_t i = 0; i < nr; i++) {
		struct text t = parts[i].text, line, key, word, unit;

		while (text_line(&t, &line)) {
			char name[64];

			if (!text_word(&line, &key) || text_len(key) >= sizeof(name) || !text_word(&line, &word))
				continue;
			memcpy(name, key.p, text_len(key));
			name[text_len(key)] = 0;
			if (key_in_parts(parts, i, name))
				continue;
			if (strcmp(name, "Hugepagesize:"))
				sum_columns(parts, nr, name, sums);
			else
				sum_columns(&parts[i], 1, name, sums);
			put_key(out, key, word, sums[0]);
			if (text_word(&line, &unit))
				text_printf(out, " %.*s", (int)text_len(unit), unit.p);
			text_put(out, "\n", 1);
		}
	}
	return out->err;
}

int aggregate_meminfo(const struct aggregate_part *parts, size_t nr, struct wire_writer *out)
{
	return sum_by_key(parts, nr, out);
}

int aggregate_vmstat(const struct aggregate_part *parts, size_t nr, struct wire_writer *out)
{
	return sum_by_key(parts, nr, out);
}

/* "12.34" in hundredths; what follows two digits is cut off. */
static bool parse_hundredths(struct text word, uint64_t *ret)
{
	const char *dot = memchr(word.p, '.', text_len(word));
	struct text whole = { word.p, dot ? dot : word.end }, part = { dot ? dot + 1 : word.end, word.end };
	uint64_t w, f = 0;

	if (text_len(part) > 2)
		part.end = part.p + 2;
	if (!text_u64(whole, &w) || w > UINT64_MAX / 200 || (dot && !text_u64(part, &f)))
		return false;
	*ret = w * 100 + (text_len(part) == 1 ? f * 10 : f);
	return true;
}

static void put_hundredths(struct wire_writer *out, uint64_t v, char after)
{
	text_printf(out, "%llu.%02llu%c", (unsigned long long)(v / 100), (unsigned long long)(v % 100), after);
}

int aggregate_loadavg(const struct aggregate_part *parts, size_t nr, struct wire_writer *out)
{
	uint64_t loads[3] = { 0 }, running = 0, total = 0, last = 0, v;

	for (size_t i = 0; i < nr; i++) {
		struct text t = parts[i].text, word;

		for (int k = 0; k < 3; k++)
			if (text_word(&t, &word) && parse_hundredths(word, &v))
				loads[k] += v;
		if (text_word(&t, &word)) {
			const char *slash = memchr(word.p, '/', text_len(word));

			if (slash && text_u64((struct text){ word.p, slash }, &v))
				running += v;
			if (slash && text_u64((struct text){ slash + 1, word.end }, &v))
				total += v;
		}
		if (text_word(&t, &word) && text_u64(word, &v) && v > last)
			last = v;
	}
	for (int k = 0; k < 3; k++)
		put_hundredths(out, loads[k], ' ');
	return text_printf(out, "%llu/%llu %llu\n", (unsigned long long)running, (unsigned long long)total,
			   (unsigned long long)last);
}

int aggregate_uptime(const struct aggregate_part *parts, size_t nr, struct wire_writer *out)
{
	uint64_t up = 0, idle = 0, v;

	for (size_t i = 0; i < nr; i++) {
		struct text t = parts[i].text, word;

		if (text_word(&t, &word) && parse_hundredths(word, &v) && v > up)
			up = v;
		if (text_word(&t, &word) && parse_hundredths(word, &v))
			idle += v;
	}
	put_hundredths(out, up, ' ');
	put_hundredths(out, idle, '\n');
	return out->err;
}

/* The number after ": " of a cpuinfo line whose key is KEY. */
static bool cpuinfo_number(struct text line, const char *key, uint64_t *ret)
{
	const char *colon = memchr(line.p, ':', text_len(line));
	struct text value, word;
	size_t len = strlen(key);

	if (!colon || text_len(line) < len || memcmp(line.p, key, len) || (line.p[len] != '\t' && line.p[len] != ':'))
		return false;
	value = (struct text){ colon + 1, line.end };
	return text_word(&value, &word) && text_u64(word, ret);
}

int aggregate_cpuinfo(const struct aggregate_part *parts, size_t nr, struct wire_writer *out)
{
	uint64_t cpu = 0, package_base = 0;

	for (size_t i = 0; i < nr; i++) {
		struct text t = parts[i].text, line;
		uint64_t v, top = 0;

		while (text_line(&t, &line)) {
			if (cpuinfo_number(line, "processor", &v)) {
				text_printf(out, "processor\t: %llu\n", (unsigned long long)cpu++);
			} else if (cpuinfo_number(line, "physical id", &v)) {
				top = v > top ? v : top;
				text_printf(out, "physical id\t: %llu\n", (unsigned long long)(package_base + v));
			} else {
				text_put(out, line.p, text_len(line));
				text_put(out, "\n", 1);
			}
		}
		package_base += top + 1;
	}
	return out->err;
}

int aggregate_version(const struct aggregate_part *parts, size_t nr, struct wire_writer *out)
{
	for (size_t i = 0; i < nr; i++) {
		bool seen = false;

		for (size_t k = 0; k < i && !seen; k++)
			seen = text_len(parts[k].text) == text_len(parts[i].text) &&
			       !memcmp(parts[k].text.p, parts[i].text.p, text_len(parts[i].text));
		if (!seen)
			text_put(out, parts[i].text.p, text_len(parts[i].text));
	}
	return out->err;
}

aggregate_fn aggregate_of(unsigned node_file)
{
	static const aggregate_fn joins[] = {
#define PROC_FILE(number, name, mode, flags)
#define NODE_FILE(number, name, join) [number] = aggregate_##join,
#include "procfs-cluster/files.def"
#undef PROC_FILE
#undef NODE_FILE
	};

	return node_file < ARRAY_LEN(joins) ? joins[node_file] : NULL;
}
