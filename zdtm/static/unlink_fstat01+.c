/*
 * title: a file that is deleted and then written to, while another one has its name
 * flavours: host ns userns
 */
#define SAME_NAME 1
#include "unlink_fstat01.h"
