/*
 * title: a periodic timer goes on starting threads
 * flavours: host ns userns
 * cflags: -pthread
 * needs: ns_pid
 */
#include "pthread_timers.h"
