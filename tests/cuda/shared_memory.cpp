// Prints each kernel of include/lisa/cuda with the most dynamic shared memory that its launcher asks for, by the names
// of budget.json: "name<arguments>\tbytes". check_kernels.py compiles and reads it. What the launchers ask for is a
// function of arguments, not of a machine, so that no GPU and no nvcc is needed.
#include <cstdint>
#include <cstdio>
#include <string>
#include <type_traits>

#include "lisa/cuda/causal_attention_gradient.cuh"
#include "lisa/cuda/decode_attention.cuh"
#include "lisa/cuda/gemv.cuh"
#include "lisa/cuda/global_attention.cuh"
#include "lisa/cuda/global_attention_sm90a.cuh"
#include "lisa/cuda/image_preprocess.cuh"
#include "lisa/cuda/mask_upsample.cuh"
#include "lisa/cuda/reference_attention.cuh"
#include "lisa/cuda/rms_norm.cuh"
#include "lisa/cuda/window_attention.cuh"

namespace {

using namespace lisa::cuda;

template <class Element>
constexpr const char* name_of = std::is_same_v<Element, Bf16>   ? "Bf16"
                                : std::is_same_v<Element, Fp16> ? "Fp16"
                                                                : "float";

void print(const std::string& name, const std::string& arguments, const LaunchGeometry& geometry) {
  std::printf("%s_kernel<%s>\t%d\n", name.c_str(), arguments.c_str(), geometry.shared_bytes);
}

template <class Element>
void print_relative_attention() {
  for (const int head_dim : {64, 80}) {
    WindowAttentionArguments<Element> windows{};
    windows.window_side = sam_window_side;
    RelativeAttentionArguments<Element>& a = windows.attention;
    a.batch = a.heads = a.grid_height = a.grid_width = 1;
    a.head_dim = head_dim;
    const std::string arguments = std::string(name_of<Element>) + ", " + std::to_string(head_dim);
    print("global_attention", arguments, global_attention_geometry(a));
    print("global_attention_sm90a", arguments, hopper_attention_geometry(a));
    print("window_attention", arguments, window_attention_geometry<sam_window_side>(windows));
  }
}

template <class Element>
void print_causal_attention() {
  for (const int head_dim : {64, 128}) {
    CausalAttentionGradientArguments<Element> gradient{};
    CausalAttentionArguments<Element>& a = gradient.forward;
    a.batch = a.heads = a.kv_heads = a.most_queries = gradient.most_keys = 1;
    a.head_dim = head_dim;
    DecodeAttentionArguments<Element> decode{};
    decode.batch = decode.heads = decode.kv_heads = decode.splits = 1;
    decode.head_dim = head_dim;
    const std::string arguments = std::string(name_of<Element>) + ", " + std::to_string(head_dim);
    print("causal_attention", arguments, causal_attention_geometry(a));
    print("query_terms", arguments, query_terms_geometry(gradient));
    print("query_gradient", arguments, query_gradient_geometry(gradient));
    print("key_gradient", arguments, key_gradient_geometry(gradient));
    print("decode_attention", arguments, decode_attention_geometry(decode));
    print("combine_splits", arguments, combine_splits_geometry(decode));
  }
}

/// Inputs are staged a tile at a time: for more of them no more memory is needed than for those of the largest tile.
template <class Element>
void print_gemv() {
  for (const int most_rows : {1, 8}) {
    LaunchGeometry largest;
    for (int rows = most_rows == 1 ? 1 : 2; rows <= most_rows; ++rows) {
      GemvArguments<Element> a{};
      a.rows = rows;
      a.in = 1 << 20;
      a.weights[0].out = 1;
      if (const LaunchGeometry geometry = gemv_geometry(a); geometry.shared_bytes > largest.shared_bytes)
        largest = geometry;
    }
    for (const char* const weights : {"Element", "Int8", "Int4, 32", "Int4, 128"})
      print("gemv", std::string(name_of<Element>) + ", " + weights + ", " + std::to_string(most_rows), largest);
  }
}

template <class Element>
void print_rms_norm() {
  RmsNormArguments<Element> a{};
  a.rows = 1;
  a.width = 65536;
  print("rms_norm", std::string(name_of<Element>) + ", 8", rms_norm_geometry(a));
  a.width = 65535;  // no vectors
  print("rms_norm", std::string(name_of<Element>) + ", 1", rms_norm_geometry(a));
}

template <class Element>
void print_pictures() {
  ImagePlanesArguments<Element> planes{};
  planes.side = 1;
  print("image_planes", name_of<Element>, image_planes_geometry(planes));
  MaskUpsampleArguments<Element> mask{};
  std::uint32_t counts = 0;
  mask.run_lengths.counts = &counts;
  mask.masks = mask.height = mask.width = 1;
  for (const char* const rounding : {"composed", "two_step"})
    print("mask_upsample", std::string(name_of<Element>) + ", " + rounding, mask_upsample_geometry(mask));
}

void print_without_arguments(const char* name, const LaunchGeometry& geometry) {
  std::printf("%s_kernel\t%d\n", name, geometry.shared_bytes);
}

}  // namespace

int main() {
  print_relative_attention<Bf16>();
  print_relative_attention<Fp16>();
  print_causal_attention<Bf16>();
  print_causal_attention<Fp16>();
  print_gemv<Bf16>();
  print_gemv<Fp16>();
  print_rms_norm<Bf16>();
  print_rms_norm<Fp16>();
  print_pictures<float>();
  print_pictures<Bf16>();
  print_pictures<Fp16>();
  ResizeColumnsArguments columns{};
  columns.rows = columns.columns = 1;
  print_without_arguments("resize_columns", resize_columns_geometry(columns));
  print_without_arguments("reference_window_attention", reference_window_attention_geometry({}));
  print_without_arguments("reference_causal_attention", reference_causal_attention_geometry({}));
}
