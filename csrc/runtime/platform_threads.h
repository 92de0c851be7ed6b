/* The dozen names that differ between POSIX threads and Windows. (C11's <threads.h> is missing on macOS.) */
#ifndef TT_PLATFORM_THREADS_H
#define TT_PLATFORM_THREADS_H

#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L /* shows signal masks in spite of -std=c11; so include this file first */
#endif

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#define tt_pause() _mm_pause()
#else
#define tt_pause() ((void)0)
#endif

#if defined(_MSC_VER)
#define TT_THREAD_LOCAL __declspec(thread)
#else
#define TT_THREAD_LOCAL _Thread_local
#endif

#if defined(_WIN32)

#include <windows.h>

typedef SRWLOCK tt_mutex;
typedef CONDITION_VARIABLE tt_condition;
#define TT_MUTEX_INITIALIZER SRWLOCK_INIT
#define TT_CONDITION_INITIALIZER CONDITION_VARIABLE_INIT
#define TT_THREAD_FUNCTION(name, argument) DWORD WINAPI name(LPVOID argument)

static inline void tt_lock(tt_mutex *mutex) { AcquireSRWLockExclusive(mutex); }
static inline int tt_try_lock(tt_mutex *mutex) { return TryAcquireSRWLockExclusive(mutex) != 0; }
static inline void tt_unlock(tt_mutex *mutex) { ReleaseSRWLockExclusive(mutex); }
static inline void tt_wait(tt_condition *c, tt_mutex *m) { SleepConditionVariableSRW(c, m, INFINITE, 0); }
static inline void tt_signal_all(tt_condition *condition) { WakeAllConditionVariable(condition); }

static inline int tt_start_thread(LPTHREAD_START_ROUTINE function, void *argument)
{
    HANDLE thread = CreateThread(NULL, 0, function, argument, 0, NULL);
    if (!thread) return -1;
    CloseHandle(thread);
    return 0;
}

#else

#include <pthread.h>
#include <signal.h>

typedef pthread_mutex_t tt_mutex;
typedef pthread_cond_t tt_condition;
#define TT_MUTEX_INITIALIZER PTHREAD_MUTEX_INITIALIZER
#define TT_CONDITION_INITIALIZER PTHREAD_COND_INITIALIZER
#define TT_THREAD_FUNCTION(name, argument) void *name(void *argument)

static inline void tt_lock(tt_mutex *mutex) { pthread_mutex_lock(mutex); }
static inline int tt_try_lock(tt_mutex *mutex) { return pthread_mutex_trylock(mutex) == 0; }
static inline void tt_unlock(tt_mutex *mutex) { pthread_mutex_unlock(mutex); }
static inline void tt_wait(tt_condition *c, tt_mutex *m) { pthread_cond_wait(c, m); }
static inline void tt_signal_all(tt_condition *condition) { pthread_cond_broadcast(condition); }
static inline void tt_reset_mutex(tt_mutex *mutex) { pthread_mutex_init(mutex, NULL); }
static inline void tt_reset_condition(tt_condition *condition) { pthread_cond_init(condition, NULL); }

/* Detached, and deaf to signals: those belong to the threads of the host program. */
static inline int tt_start_thread(void *(*function)(void *), void *argument)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_t thread;
    int failed = pthread_create(&thread, NULL, function, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!failed) pthread_detach(thread);
    return failed;
}

#endif
#endif
