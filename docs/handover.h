/* The system calls of Handover. Rendered from abi/src/table.rs; do not edit. */
#ifndef HANDOVER_H
#define HANDOVER_H

#include <stdint.h>

typedef uint64_t handover_handle;
typedef uint64_t handover_token;

#define HANDOVER_VERSION 4

/* nop() */
#define HANDOVER_NOP 0
/* abi_info() */
#define HANDOVER_ABI_INFO 1
/* clock_now() */
#define HANDOVER_CLOCK_NOW 2
/* debug_write(void *bytes, uint64_t len) */
#define HANDOVER_DEBUG_WRITE 3
/* thread_yield() */
#define HANDOVER_THREAD_YIELD 4
/* exit(uint8_t status) */
#define HANDOVER_EXIT 5
/* system_info(void *info) */
#define HANDOVER_SYSTEM_INFO 6
/* thread_tls(uint64_t base) */
#define HANDOVER_THREAD_TLS 7
/* process_spawn(void *args) */
#define HANDOVER_PROCESS_SPAWN 10
/* process_wait(handover_handle process, uint64_t deadline, void *status) */
#define HANDOVER_PROCESS_WAIT 11
/* process_kill(handover_handle process) */
#define HANDOVER_PROCESS_KILL 12
/* process_info(handover_handle process, void *info) */
#define HANDOVER_PROCESS_INFO 13
/* process_resume(handover_handle process, uint64_t thread, uint64_t instruction) */
#define HANDOVER_PROCESS_RESUME 14
/* process_fault(handover_handle process, uint64_t thread, void *info) */
#define HANDOVER_PROCESS_FAULT 15
/* process_fuse(handover_handle process, uint64_t entries) */
#define HANDOVER_PROCESS_FUSE 16
/* thread_spawn(void *args) */
#define HANDOVER_THREAD_SPAWN 17
/* thread_exit() */
#define HANDOVER_THREAD_EXIT 18
/* thread_info(handover_handle thread, void *info) */
#define HANDOVER_THREAD_INFO 19
/* region_create(uint64_t len, uint32_t flags, uint32_t policy, uint64_t node) */
#define HANDOVER_REGION_CREATE 20
/* region_info(handover_handle region, void *info) */
#define HANDOVER_REGION_INFO 21
/* region_seal(handover_handle region) */
#define HANDOVER_REGION_SEAL 22
/* region_destroy(handover_handle region) */
#define HANDOVER_REGION_DESTROY 23
/* image_create(handover_handle region, uint64_t offset, uint64_t len) */
#define HANDOVER_IMAGE_CREATE 24
/* region_commit(handover_handle region, uint64_t offset, uint64_t len) */
#define HANDOVER_REGION_COMMIT 25
/* region_decommit(handover_handle region, uint64_t offset, uint64_t len) */
#define HANDOVER_REGION_DECOMMIT 26
/* region_snapshot(handover_handle region, uint64_t offset, uint64_t len, uint32_t flags) */
#define HANDOVER_REGION_SNAPSHOT 27
/* region_pin(handover_handle region) */
#define HANDOVER_REGION_PIN 28
/* region_unpin(handover_handle region) */
#define HANDOVER_REGION_UNPIN 29
/* map(handover_handle region, uint64_t hint, uint64_t offset, uint64_t len, uint32_t rights, uint32_t flags) */
#define HANDOVER_MAP 30
/* unmap(uint64_t address) */
#define HANDOVER_UNMAP 31
/* protect(uint64_t address, uint32_t rights) */
#define HANDOVER_PROTECT 32
/* cap_derive(handover_handle handle, uint32_t rights) */
#define HANDOVER_CAP_DERIVE 40
/* cap_drop(handover_handle handle) */
#define HANDOVER_CAP_DROP 41
/* cap_revoke(handover_handle handle, uint32_t flags) */
#define HANDOVER_CAP_REVOKE 42
/* cap_info(handover_handle handle, void *info) */
#define HANDOVER_CAP_INFO 43
/* cap_same(handover_handle a, handover_handle b) */
#define HANDOVER_CAP_SAME 44
/* cap_derive_with(handover_handle handle, void *args) */
#define HANDOVER_CAP_DERIVE_WITH 45
/* cap_reduce(handover_handle handle, uint32_t rights) */
#define HANDOVER_CAP_REDUCE 46
/* object_info(handover_handle handle, void *info) */
#define HANDOVER_OBJECT_INFO 47
/* grant(handover_handle handle, handover_handle via, uint32_t mode, uint32_t rights, uint32_t flags, uint64_t deadline) */
#define HANDOVER_GRANT 50
/* accept(handover_token token, handover_handle via) */
#define HANDOVER_ACCEPT 51
/* cancel(handover_token token) */
#define HANDOVER_CANCEL 52
/* ring_create(void *geometry, void *ends) */
#define HANDOVER_RING_CREATE 60
/* ring_map(handover_handle end) */
#define HANDOVER_RING_MAP 61
/* ring_wait(handover_handle end, uint32_t seen, uint64_t deadline) */
#define HANDOVER_RING_WAIT 62
/* ring_wake(handover_handle end) */
#define HANDOVER_RING_WAKE 63
/* ring_info(handover_handle end, void *info) */
#define HANDOVER_RING_INFO 64
/* ring_close(handover_handle end, uint32_t how) */
#define HANDOVER_RING_CLOSE 65
/* ring_turn(handover_handle end, handover_handle waiting, uint32_t seen, uint64_t deadline) */
#define HANDOVER_RING_TURN 66
/* channel_create(uint32_t capacity, void *ends) */
#define HANDOVER_CHANNEL_CREATE 70
/* channel_send(handover_handle end, void *message, uint64_t deadline) */
#define HANDOVER_CHANNEL_SEND 71
/* channel_receive(handover_handle end, void *message, uint64_t deadline) */
#define HANDOVER_CHANNEL_RECEIVE 72
/* channel_call(handover_handle end, void *request, void *answer, uint64_t deadline) */
#define HANDOVER_CHANNEL_CALL 73
/* channel_reply(handover_handle reply, void *message) */
#define HANDOVER_CHANNEL_REPLY 74
/* channel_call_words(handover_handle end, uint64_t first, uint64_t second, uint64_t third, uint64_t fourth, uint64_t deadline) */
#define HANDOVER_CHANNEL_CALL_WORDS 75
/* channel_serve_words(handover_handle end, handover_handle reply, uint64_t first, uint64_t second, uint64_t third, uint64_t fourth) */
#define HANDOVER_CHANNEL_SERVE_WORDS 76
/* channel_reply_words(handover_handle reply, uint64_t first, uint64_t second, uint64_t third, uint64_t fourth) */
#define HANDOVER_CHANNEL_REPLY_WORDS 77
/* channel_limit(handover_handle end, uint64_t messages, uint64_t bytes) */
#define HANDOVER_CHANNEL_LIMIT 78
/* channel_info(handover_handle end, void *info) */
#define HANDOVER_CHANNEL_INFO 79
/* notify_create() */
#define HANDOVER_NOTIFY_CREATE 80
/* signal(handover_handle notification, uint64_t bits) */
#define HANDOVER_SIGNAL 81
/* notify_wait(handover_handle notification, uint64_t deadline) */
#define HANDOVER_NOTIFY_WAIT 82
/* object_wait(handover_handle object, uint32_t events, uint64_t deadline) */
#define HANDOVER_OBJECT_WAIT 83
/* wait_cancel(handover_handle thread) */
#define HANDOVER_WAIT_CANCEL 84
/* port_create() */
#define HANDOVER_PORT_CREATE 85
/* port_bind(handover_handle port, handover_handle object, uint32_t events, uint32_t flags, uint64_t key) */
#define HANDOVER_PORT_BIND 86
/* port_unbind(handover_handle port, uint64_t key) */
#define HANDOVER_PORT_UNBIND 87
/* port_wait(handover_handle port, void *packets, uint64_t len, uint64_t deadline) */
#define HANDOVER_PORT_WAIT 88
/* channel_serve(handover_handle end, handover_handle reply, void *answer, void *request, uint64_t deadline) */
#define HANDOVER_CHANNEL_SERVE 89
/* resource_info(handover_handle resource, void *info) */
#define HANDOVER_RESOURCE_INFO 90
/* resource_part(handover_handle resource, uint64_t address, uint64_t len) */
#define HANDOVER_RESOURCE_PART 91
/* region_device(handover_handle resource, uint64_t address, uint64_t len, uint32_t policy) */
#define HANDOVER_REGION_DEVICE 92
/* interrupt_create(handover_handle resource, handover_handle notification, uint64_t bits, void *info) */
#define HANDOVER_INTERRUPT_CREATE 93
/* timer_create(handover_handle notification, uint64_t bits) */
#define HANDOVER_TIMER_CREATE 94
/* timer_set(handover_handle timer, uint64_t deadline, uint64_t period) */
#define HANDOVER_TIMER_SET 95
/* trace_start(handover_handle resource, uint32_t slots) */
#define HANDOVER_TRACE_START 96
/* trace_stop(handover_handle resource) */
#define HANDOVER_TRACE_STOP 97
/* thread_priority(handover_handle thread, uint32_t priority) */
#define HANDOVER_THREAD_PRIORITY 98
/* hub_create(void *geometry, void *handles) */
#define HANDOVER_HUB_CREATE 100
/* hub_reserve(handover_handle hub, void *seat) */
#define HANDOVER_HUB_RESERVE 101
/* hub_claim(handover_handle member, uint32_t epoch, void *ends) */
#define HANDOVER_HUB_CLAIM 102
/* hub_leave(handover_handle member) */
#define HANDOVER_HUB_LEAVE 103
/* hub_info(handover_handle hub, void *info) */
#define HANDOVER_HUB_INFO 104
/* hub_wait(handover_handle hub, void *peers, uint64_t deadline) */
#define HANDOVER_HUB_WAIT 105
/* hub_connect(handover_handle hub, uint32_t peer, uint32_t epoch, void *ends) */
#define HANDOVER_HUB_CONNECT 106
/* hub_dismiss(handover_handle hub, uint32_t peer, uint32_t epoch) */
#define HANDOVER_HUB_DISMISS 107
/* hub_recover(handover_handle hub, uint32_t peer, uint32_t epoch) */
#define HANDOVER_HUB_RECOVER 108
/* hub_signal(handover_handle member, uint32_t signal) */
#define HANDOVER_HUB_SIGNAL 109
/* sub_create(void *args) */
#define HANDOVER_SUB_CREATE 110
/* sub_enter(handover_handle submission, uint32_t submit, uint32_t wait_for, uint64_t deadline) */
#define HANDOVER_SUB_ENTER 111
/* sub_register(handover_handle handle, uint64_t slot) */
#define HANDOVER_SUB_REGISTER 112
/* sub_unregister(uint64_t registered, uint64_t deadline) */
#define HANDOVER_SUB_UNREGISTER 113
/* sub_map(handover_handle submission, void *views) */
#define HANDOVER_SUB_MAP 114
/* sub_info(handover_handle submission, void *info) */
#define HANDOVER_SUB_INFO 115
/* region_copy(handover_handle region, uint64_t offset, handover_handle source, uint64_t source_offset, uint64_t len) */
#define HANDOVER_REGION_COPY 116
/* sub_slots(uint64_t count, uint64_t reserved) */
#define HANDOVER_SUB_SLOTS 117

#define HANDOVER_E_BAD_HANDLE 1
#define HANDOVER_E_WRONG_KIND 2
#define HANDOVER_E_DENIED 3
#define HANDOVER_E_REVOKED 4
#define HANDOVER_E_IN_TRANSIT 5
#define HANDOVER_E_PINNED 6
#define HANDOVER_E_SHARED 7
#define HANDOVER_E_SEALED 8
#define HANDOVER_E_RANGE 9
#define HANDOVER_E_ALIGN 10
#define HANDOVER_E_OVERLAP 11
#define HANDOVER_E_NO_MEMORY 12
#define HANDOVER_E_QUOTA 13
#define HANDOVER_E_EXISTS 14
#define HANDOVER_E_BUSY 15
#define HANDOVER_E_WOULD_BLOCK 16
#define HANDOVER_E_TIMED_OUT 17
#define HANDOVER_E_CANCELLED 18
#define HANDOVER_E_PEER_CLOSED 19
#define HANDOVER_E_PEER_FAULT 20
#define HANDOVER_E_FAULT 21
#define HANDOVER_E_INVALID 22
#define HANDOVER_E_UNSUPPORTED 23
#define HANDOVER_E_FULL 24
#define HANDOVER_E_EMPTY 25
#define HANDOVER_E_TOO_LARGE 26
#define HANDOVER_E_INTERRUPTED 27
#define HANDOVER_E_LIMIT 28
#define HANDOVER_E_NOT_FOUND 29

#define HANDOVER_RIGHT_READ 0x1u
#define HANDOVER_RIGHT_WRITE 0x2u
#define HANDOVER_RIGHT_EXECUTE 0x4u
#define HANDOVER_RIGHT_MAP 0x8u
#define HANDOVER_RIGHT_GRANT 0x10u
#define HANDOVER_RIGHT_MOVE 0x20u
#define HANDOVER_RIGHT_DUPLICATE 0x40u
#define HANDOVER_RIGHT_SEAL 0x80u
#define HANDOVER_RIGHT_REVOKE 0x100u
#define HANDOVER_RIGHT_DESTROY 0x200u
#define HANDOVER_RIGHT_SIGNAL 0x400u
#define HANDOVER_RIGHT_WAIT 0x800u
#define HANDOVER_RIGHT_SEND 0x1000u
#define HANDOVER_RIGHT_RECEIVE 0x2000u
#define HANDOVER_RIGHT_INSPECT 0x4000u
#define HANDOVER_RIGHT_MANAGE 0x8000u

#endif
