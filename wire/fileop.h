/* Values inside file operations that both ends share (the fields are in messages.def). Numbers are wire format. */
#ifndef CFS_WIRE_FILEOP_H
#define CFS_WIRE_FILEOP_H

/* setattr.valid */
enum {
	SETATTR_MODE = 1 << 0,
	SETATTR_UID = 1 << 1,
	SETATTR_GID = 1 << 2,
	SETATTR_SIZE = 1 << 3,
	SETATTR_ATIME = 1 << 4,
	SETATTR_MTIME = 1 << 5,
	SETATTR_ATIME_NOW = 1 << 6,
	SETATTR_MTIME_NOW = 1 << 7,
	SETATTR_KILL_PRIV = 1 << 8, /* clear suid/sgid as chown(2) and truncate(2) do */
};

/* create.flags */
enum { CREATE_EXCL = 1 << 0, CREATE_TRUNC = 1 << 1 };

/* open.flags: how the file may be used; decides nothing but cache tokens */
enum { OPEN_READ = 1 << 0, OPEN_WRITE = 1 << 1, OPEN_TRUNC = 1 << 2 };

/* write.flags */
enum { WRITE_APPEND = 1 << 0, WRITE_KILL_PRIV = 1 << 1 };

/* tokens and dir_tokens: what the client may cache until a revoke of the same bits */
enum {
	TOKEN_ATTR = 1 << 0,  /* attributes of the inode */
	TOKEN_DATA = 1 << 1,  /* content of the file */
	TOKEN_NAMES = 1 << 2, /* names of the directory, present and absent */
};

/*
 * readdir.entries: a sequence of entries, each  le16 bytes of this entry (these two included), packed attr (types.def), NUL-ended name.
 * Entries carry attributes so that one request serves readdirplus. "." and ".." are not in it.
 */

#endif
