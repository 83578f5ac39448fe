/*
 * title: a file that is deleted and then written to keeps its size and position
 * flavours: host ns userns
 */
#define SAME_NAME 0
#include "unlink_fstat01.h"
