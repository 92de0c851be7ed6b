/* One pass over the parameters: everything is read once and written once. */
#include "microkernels/vector.h"
#include "microkernels/vec.h"

static void sgd(float *param, const float *grad, float *buffer, size_t n, const tt_sgd_factors *f)
{
    for (size_t j = 0; j < n; j += VF_N) {
        vf p = vf_load_up_to(param + j, n - j), g = vf_load_up_to(grad + j, n - j);
        g = vf_fma(vf_set(f->weight_decay), p, g);
        if (buffer) {
            vf b = vf_fma(vf_set(f->momentum), vf_load_up_to(buffer + j, n - j), g);
            vf_store_up_to(buffer + j, b, n - j);
            g = f->nesterov ? vf_fma(vf_set(f->momentum), b, g) : b;
        }
        vf_store_up_to(param + j, vf_fma(vf_set(-f->lr), g, p), n - j);
    }
}

static void adam(float *param, const float *grad, float *m, float *v, size_t n, const tt_adam_factors *f)
{
    for (size_t j = 0; j < n; j += VF_N) {
        vf p = vf_load_up_to(param + j, n - j), g = vf_load_up_to(grad + j, n - j);
        p = vf_mul(vf_set(f->keep), p);
        g = vf_fma(vf_set(f->weight_decay), p, g);
        vf mean = vf_mul(vf_set(f->beta1), vf_load_up_to(m + j, n - j));
        mean = vf_fma(vf_set(f->new1), g, mean);
        vf square = vf_mul(vf_set(f->beta2), vf_load_up_to(v + j, n - j));
        square = vf_fma(vf_mul(vf_set(f->new2), g), g, square);
        vf_store_up_to(m + j, mean, n - j);
        vf_store_up_to(v + j, square, n - j);
        vf spread = vf_fma(vf_sqrt(square), vf_set(f->root_correction), vf_set(f->eps));
        vf step = vf_div(vf_mul(vf_set(f->step_size), mean), spread);
        vf_store_up_to(param + j, vf_sub(p, step), n - j);
    }
}

const tt_optimizer_kernels TT_FOR_LEVEL(tt_optimizer) = {sgd, adam};
