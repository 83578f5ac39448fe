/*
 * title: a periodic timer goes on starting threads, without pid namespaces
 * flavours: host
 * cflags: -pthread
 */
#include "pthread_timers.h"
