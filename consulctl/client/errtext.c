/*
 * errtext.c - error codes in Go's words.
 */
#include <stdio.h>

#include "consulctl/client/errtext.h"
#include "lib/errs.h"
#include "lib/str.h"

const char *
errtext(int rc)
{
	static char text[128];

	(void)snprintf(text, sizeof(text), "%s", err_text(rc));
	text[0] = (char)ascii_lower((unsigned char)text[0]);
	return text;
}
