/*
 * errtext.h - error codes in the words that Consul's users (and their
 * scripts) know: as Go prints them, with a small first letter.
 */
#ifndef CONSULCTL_CLIENT_ERRTEXT_H
#define CONSULCTL_CLIENT_ERRTEXT_H

/* A negative code of ours or of errno; static memory that the next call overwrites. */
const char *errtext(int rc);

#endif
