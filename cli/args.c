#include "cli/args.h"

#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OPT_STATE_DIR = 0x100 };

static error_t parse_common(int key, char *arg, struct argp_state *state)
{
	(void)state;
	if (key != OPT_STATE_DIR)
		return ARGP_ERR_UNKNOWN;
	/* All that the command calls looks there. */
	return setenv(STATE_DIR_ENV, arg, 1) < 0 ? errno : 0;
}

void cli_parse(int argc, char **argv, const struct argp_option *options, argp_parser_t parse, const char *args_doc,
	       const char *doc, void *input)
{
	static const struct argp_option common_options[] = {
		{ "state-dir", OPT_STATE_DIR, "DIR", 0, "Where the node keeps its state [CFS_STATE_DIR, " STATE_DIR_DEFAULT "]", 0 },
		{ 0 },
	};
	static const struct argp common = { .options = common_options, .parser = parse_common };
	const struct argp_child children[] = { { &common, 0, NULL, 0 }, { 0 } };
	const struct argp argp = { options, parse, args_doc, doc, children, NULL, NULL };
	char name[64];

	snprintf(name, sizeof(name), "cfs %s", argv[0]);
	argv[0] = name;
	argp_err_exit_status = EXIT_USAGE;
	/* In order: a command to run has options of its own. */
	if (argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, input) != 0)
		exit(EXIT_USAGE);
}

static int split_port(const char *text, uint16_t *ret_port)
{
	char *end;
	unsigned long port = strtoul(text, &end, 10);

	if (text[0] < '0' || text[0] > '9' || *end || !port || port > UINT16_MAX)
		return -EINVAL;
	*ret_port = (uint16_t)port;
	return 0;
}

int cli_split_address(const char *text, char *ret_host, size_t size, uint16_t *ret_port)
{
	const char *host = text, *end, *colon;

	if (text[0] == '[') {
		host = text + 1;
		end = strchr(host, ']');
		if (!end || (end[1] && end[1] != ':'))
			return -EINVAL;
		colon = end[1] ? end + 1 : NULL;
	} else {
		colon = strchr(text, ':');
		if (colon && strchr(colon + 1, ':'))
			colon = NULL; /* an IPv6 address without a port */
		end = colon ? colon : text + strlen(text);
	}
	if (end == host || (size_t)(end - host) >= size)
		return -EINVAL;
	*ret_port = CLUSTER_PORT_DEFAULT;
	if (colon && split_port(colon + 1, ret_port) < 0)
		return -EINVAL;
	memcpy(ret_host, host, (size_t)(end - host));
	ret_host[end - host] = 0;
	return 0;
}

static int numeric(const struct sockaddr *sa, socklen_t len, char ret_host[CONFIG_ADDRESS_MAX])
{
	return getnameinfo(sa, len, ret_host, CONFIG_ADDRESS_MAX, NULL, 0, NI_NUMERICHOST) ? -EADDRNOTAVAIL : 0;
}

int cli_resolve_address(const char *text, char ret_host[CONFIG_ADDRESS_MAX], uint16_t *ret_port)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct addrinfo *ai;
	char name[256];
	int r = cli_split_address(text, name, sizeof(name), ret_port);

	if (r < 0)
		return r;
	if (getaddrinfo(name, NULL, &hints, &ai))
		return -EADDRNOTAVAIL;
	r = numeric(ai->ai_addr, ai->ai_addrlen, ret_host);
	freeaddrinfo(ai);
	return r;
}

static int first_of(const struct ifaddrs *list, int family, char ret_host[CONFIG_ADDRESS_MAX])
{
	socklen_t len = family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);

	for (const struct ifaddrs *i = list; i; i = i->ifa_next) {
		if (!i->ifa_addr || i->ifa_addr->sa_family != family || i->ifa_flags & IFF_LOOPBACK ||
		    !(i->ifa_flags & IFF_UP))
			continue;
		/* Link-local ones are of use on one link only. */
		if (family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&((struct sockaddr_in6 *)i->ifa_addr)->sin6_addr))
			continue;
		return numeric(i->ifa_addr, len, ret_host);
	}
	return -EADDRNOTAVAIL;
}

int cli_own_address(char ret_host[CONFIG_ADDRESS_MAX])
{
	struct ifaddrs *list;
	int r;

	if (getifaddrs(&list) < 0)
		return -errno;
	r = first_of(list, AF_INET, ret_host);
	if (r < 0)
		r = first_of(list, AF_INET6, ret_host);
	freeifaddrs(list);
	return r;
}

static int own_name(char ret_name[CONFIG_NAME_MAX])
{
	if (gethostname(ret_name, CONFIG_NAME_MAX) < 0)
		return -ENAMETOOLONG;
	ret_name[CONFIG_NAME_MAX - 1] = 0;
	ret_name[strcspn(ret_name, ".")] = 0;
	return 0;
}

int cli_identity(const char *verb, const char *name, const char *address, struct node_identity *ret_id)
{
	struct node_identity id = { .port = CLUSTER_PORT_DEFAULT };
	int r;

	if (name && strlen(name) >= sizeof(id.name))
		r = -ENAMETOOLONG;
	else
		r = name ? (strcpy(id.name, name), 0) : own_name(id.name);
	if (!r && (!id.name[0] || id.name[0] == '.' || id.name[0] == '-' || strpbrk(id.name, "/ \t\n")))
		r = -EINVAL;
	if (r < 0) {
		fprintf(stderr, "cfs %s: %s cannot be the name of a node (--name): %s\n", verb, name ? name : "the host's name",
			strerror(-r));
		return r;
	}
	r = address ? cli_resolve_address(address, id.host, &id.port) : cli_own_address(id.host);
	if (r < 0) {
		if (address)
			fprintf(stderr, "cfs %s: %s is not an address (--address): %s\n", verb, address, strerror(-r));
		else
			fprintf(stderr, "cfs %s: this machine has no address that others can reach: say --address\n", verb);
		return r;
	}
	*ret_id = id;
	return 0;
}
