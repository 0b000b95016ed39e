/* Cursor and buffer primitives. Little-endian; bounds first; a writer that failed stays failed. */
#ifndef CFS_WIRE_CODEC_H
#define CFS_WIRE_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WIRE_NAME_MAX 255u
#define WIRE_STR_MAX 4095u
#define WIRE_BLOB_MAX (16u << 20)
#define WIRE_U32S_MAX 64u

struct wire_blob {
	const void *p;
	uint32_t len;
};

struct wire_u32s {
	uint32_t n;
	uint32_t v[WIRE_U32S_MAX];
};

/* A growing buffer; release with wire_writer_release(). */
struct wire_writer {
	uint8_t *buf;
	size_t len, cap;
	int err; /* 0, -ENOMEM or -EMSGSIZE; sticky */
};

/* A cursor over borrowed bytes. */
struct wire_reader {
	const uint8_t *p, *end;
};

void wire_writer_init(struct wire_writer *w);
void wire_writer_release(struct wire_writer *w);
/* Room for LEN more bytes, already counted in; NULL when the writer failed. */
uint8_t *wire_reserve(struct wire_writer *w, size_t len);

/* All put functions return 0 or the writer's error; all get functions 0 or -EBADMSG, and write only on success. */
int wire_put_u8(struct wire_writer *w, const uint8_t *v);
int wire_put_u16(struct wire_writer *w, const uint16_t *v);
int wire_put_u32(struct wire_writer *w, const uint32_t *v);
int wire_put_u64(struct wire_writer *w, const uint64_t *v);
int wire_put_name(struct wire_writer *w, const char *const *v);
int wire_put_str(struct wire_writer *w, const char *const *v);
int wire_put_blob(struct wire_writer *w, const struct wire_blob *v);
int wire_put_u32s(struct wire_writer *w, const struct wire_u32s *v);

int wire_get_u8(struct wire_reader *r, uint8_t *ret);
int wire_get_u16(struct wire_reader *r, uint16_t *ret);
int wire_get_u32(struct wire_reader *r, uint32_t *ret);
int wire_get_u64(struct wire_reader *r, uint64_t *ret);
int wire_get_name(struct wire_reader *r, const char **ret);
int wire_get_str(struct wire_reader *r, const char **ret);
int wire_get_blob(struct wire_reader *r, struct wire_blob *ret);
int wire_get_u32s(struct wire_reader *r, struct wire_u32s *ret);

#endif
