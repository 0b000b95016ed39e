/* What a new job is started with: values inside the job_start message that both ends share. Numbers are wire format. */
#ifndef CFS_MIGRATE_SPEC_H
#define CFS_MIGRATE_SPEC_H

/* stdfd.kind */
enum stdfd_kind {
	STDFD_NULL = 0,	  /* /dev/null */
	STDFD_RELAY = 1,  /* a pipe, relayed to whoever waits */
	STDFD_FILE = 2,	  /* a file that has the same path everywhere: opened again with flags, at off */
	STDFD_STDOUT = 3, /* of stderr: the same description as stdout */
};

#endif
