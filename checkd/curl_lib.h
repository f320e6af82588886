/*
 * curl_lib.h - libcurl, loaded when the first check needs it.
 *
 * Linked in the usual way it brings thirty libraries and 5 MiB into a daemon
 * that, on most nodes, never makes a request; loading them also takes longer
 * than all the rest of its start.
 */
#ifndef CHECKD_CURL_LIB_H
#define CHECKD_CURL_LIB_H

#include <curl/curl.h>

/* Without the type-checking macros of curl.h: these are called through pointers. */
#undef curl_easy_setopt
#undef curl_easy_getinfo
#undef curl_multi_setopt

#define CURL_FUNCTIONS(F) \
	F(global_init) F(global_cleanup) F(free) F(slist_append) F(slist_free_all) \
	F(easy_init) F(easy_reset) F(easy_cleanup) F(easy_setopt) F(easy_getinfo) F(easy_strerror) \
	F(multi_init) F(multi_cleanup) F(multi_setopt) F(multi_assign) F(multi_add_handle) F(multi_remove_handle) \
	F(multi_socket_action) F(multi_info_read) \
	F(url) F(url_cleanup) F(url_get) F(url_set)

/* curl.easy_init is curl_easy_init, and so on. */
struct curl_lib {
#define CURL_POINTER(name) __typeof__(curl_##name) *name;
	CURL_FUNCTIONS(CURL_POINTER)
#undef CURL_POINTER
};

extern struct curl_lib curl;

/* Load and initialise it once. Negative with the reason in *ret_why (static memory). */
int curl_lib_load(const char **ret_why);

/* Undo the initialisation; it stays loaded. */
void curl_lib_release(void);

#endif
