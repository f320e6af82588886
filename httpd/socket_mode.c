/* socket_mode.c - unix_sockets.{user,group,mode}: who may use the socket. */
#include "httpd/socket_mode.h"

#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cfg.h"
#include "lib/log.h"

static bool
is_number(const char *s)
{
	return *s != '\0' && strspn(s, "0123456789") == strlen(s) && strlen(s) < 10;
}

/* A name or a number; -1 (leave it) for "". */
static int
user_id(const char *s, uid_t *ret)
{
	struct passwd *p = NULL;

	*ret = (uid_t)-1;
	if (*s == '\0')
		return 0;
	if (!is_number(s))
		p = getpwnam(s);
	if (!is_number(s) && p == NULL)
		return -ENOENT;
	*ret = p != NULL ? p->pw_uid : (uid_t)strtoul(s, NULL, 10);
	return 0;
}

static int
group_id(const char *s, gid_t *ret)
{
	struct group *g = NULL;

	*ret = (gid_t)-1;
	if (*s == '\0')
		return 0;
	if (!is_number(s))
		g = getgrnam(s);
	if (!is_number(s) && g == NULL)
		return -ENOENT;
	*ret = g != NULL ? g->gr_gid : (gid_t)strtoul(s, NULL, 10);
	return 0;
}

int
socket_mode_apply(struct json_object *slice, const char *path)
{
	const char *user = cfg_str(slice, "unix_sockets.user", ""), *group = cfg_str(slice, "unix_sockets.group", "");
	const char *mode = cfg_str(slice, "unix_sockets.mode", "");
	uid_t uid;
	gid_t gid;

	if (user_id(user, &uid) < 0) {
		log_err("agent", "unix_sockets.user: no such user: user=%s", user);
		return -EINVAL;
	}
	if (group_id(group, &gid) < 0) {
		log_err("agent", "unix_sockets.group: no such group: group=%s", group);
		return -EINVAL;
	}
	/* The mode first: between both calls the socket is too closed rather than too open. */
	if ((*mode != '\0' && chmod(path, (mode_t)strtoul(mode, NULL, 8)) < 0) ||
	    ((uid != (uid_t)-1 || gid != (gid_t)-1) && chown(path, uid, gid) < 0)) {
		int rc = -errno;

		log_err("agent", "cannot set owner and mode of a socket: path=%s error=%s", path, err_text(rc));
		return rc;
	}
	return 0;
}
