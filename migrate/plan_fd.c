/* One descriptor by itself: what it is, from the link and stat that /proc shows. Pure. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "migrate/plan.h"

/* anon_inode names CRIU can dump (its files.c), without the brackets some kernels put round them */
static const char *const fine_anon[] = { "eventfd", "eventpoll", "signalfd", "timerfd", "inotify", "pidfd" };

#define GHOST_MAX (64u << 20) /* what CRIU takes along of a file that has no name any more: criu.c */

static enum fd_kind check_anon(const struct plan_fd *fd, struct reasons *reasons)
{
	char name[64];
	const char *p = fd->link + strlen("anon_inode:");
	size_t len;

	p += *p == '[';
	len = strcspn(p, "]");
	if (len >= sizeof(name))
		len = sizeof(name) - 1;
	memcpy(name, p, len);
	name[len] = 0;
	for (size_t i = 0; i < sizeof(fine_anon) / sizeof(fine_anon[0]); i++)
		if (!strcmp(name, fine_anon[i]))
			return strcmp(name, "pidfd") ? FD_FINE : FD_PIDFD;
	reasons_add(reasons, "%s fd %d of %d", name, fd->fd, fd->pid);
	return FD_REFUSED;
}

/* null, zero, full, random, urandom: the same everywhere and without state. */
static bool is_plain_device(uint64_t rdev)
{
	unsigned minor_nr = minor(rdev);

	return major(rdev) == 1 && (minor_nr == 3 || minor_nr == 5 || (minor_nr >= 7 && minor_nr <= 9));
}

static bool is_tty(uint64_t rdev)
{
	unsigned nr = major(rdev);

	return nr == 4 || nr == 5 || (nr >= 136 && nr <= 143);
}

static enum fd_kind check_device(const struct plan_fd *fd, struct reasons *reasons)
{
	if (S_ISCHR(fd->mode) && is_plain_device(fd->rdev))
		return FD_FINE;
	if (S_ISCHR(fd->mode) && is_tty(fd->rdev))
		reasons_add(reasons, "tty fd %d of %d %s", fd->fd, fd->pid, fd->link);
	else
		reasons_add(reasons, "device fd %d of %d %s", fd->fd, fd->pid, fd->link);
	return FD_REFUSED;
}

static enum fd_kind check_regular(const struct plan_fd *fd, bool on_cfs, struct reasons *reasons)
{
	bool written = (fd->flags & O_ACCMODE) != O_RDONLY;

	if (!strncmp(fd->link, "/memfd:", 7))
		return FD_FINE; /* its content is in the image */
	if (fd->nlink == 0 && (!on_cfs || fd->bytes > GHOST_MAX)) {
		reasons_add(reasons, "gone-file fd %d of %d %s", fd->fd, fd->pid, fd->link);
		return FD_REFUSED;
	}
	if (written && !on_cfs) {
		reasons_add(reasons, "local-file fd %d of %d %s", fd->fd, fd->pid, fd->link);
		return FD_REFUSED;
	}
	/* Who only appends, or only names it, has no use for the offset. */
	return fd->flags & O_PATH || (written && fd->flags & O_APPEND) ? FD_FINE : FD_FILE;
}

enum fd_kind plan_fd_check(const struct plan_fd *fd, bool on_cfs, struct reasons *reasons)
{
	if (!strncmp(fd->link, "anon_inode:", 11))
		return check_anon(fd, reasons);
	if (!strncmp(fd->link, "pipe:[", 6))
		return FD_PIPE;
	if (!strncmp(fd->link, "socket:[", 8))
		return FD_SOCKET;
	switch (fd->mode & S_IFMT) {
	case S_IFREG:
		return check_regular(fd, on_cfs, reasons);
	case S_IFDIR:
		return FD_FINE;
	case S_IFCHR:
	case S_IFBLK:
		return check_device(fd, reasons);
	case S_IFIFO:
		reasons_add(reasons, "fifo fd %d of %d %s", fd->fd, fd->pid, fd->link);
		return FD_REFUSED;
	default:
		reasons_add(reasons, "unknown fd %d of %d %s", fd->fd, fd->pid, fd->link);
		return FD_REFUSED;
	}
}
