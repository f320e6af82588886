/* errs.c - texts of the library's result codes. */
#include "lib/errs.h"

#include <string.h>

const char *
err_text(int rc)
{
	switch (-rc) {
	case ELIMIT:
		return "limit reached";
	case EDECODE:
		return "malformed data";
	case ECLOSED:
		return "connection closed by the peer";
	case EUNKNOWN:
		return "outcome unknown";
	default:
		return strerror(-rc);
	}
}
