#include "lisa/nn/dequantise_tensor.hpp"

#include <ATen/ops/from_blob.h>

#include <cstring>
#include <utility>
#include <vector>

#include "lisa/nn/parameter.hpp"
#include "lisa/quant/dequantise.hpp"
#include "tests/quant/random_matrix.hpp"

//
#include <doctest/doctest.h>

using namespace lisa;

TEST_CASE("weights restored by tensor operations are those of the portable loop, to the bit, in every format") {
  constexpr dim out = 5;
  for (const WeightFormat format : test::weight_formats)
    for (const dim in : test::row_lengths(format)) {
      CAPTURE(to_string(format));
      CAPTURE(in);
      test::Matrix matrix(format, out, in);
      const at::Tensor weight = at::from_blob(matrix.bytes.data(), {out, row_bytes(format, in)}, at::kByte);
      for (const auto& [begin, end] : std::vector<std::pair<dim, dim>>{{0, out}, {1, 3}, {4, 5}}) {
        CAPTURE(begin);
        std::vector<float> expected(static_cast<std::size_t>((end - begin) * in));
        for (dim row = begin; row < end; ++row)
          dequantise_row_portable(matrix.view, row, expected.data() + (row - begin) * in);
        const at::Tensor found = dequantised_tensor(weight, format, in, begin, end).contiguous();
        REQUIRE((shape_of(found) == Shape{end - begin, in}));
        REQUIRE((found.scalar_type() == at::kFloat));
        CHECK(std::memcmp(found.const_data_ptr<float>(), expected.data(), expected.size() * sizeof(float)) == 0);
      }
    }
}

TEST_CASE("every code of 4 bits is restored, and the weight stays as it was") {
  for (const WeightFormat format : {WeightFormat::int4_group32, WeightFormat::nf4_group64}) {
    test::Matrix matrix(format, 1, 544);
    for (std::size_t i = 0; i < 272; ++i) matrix.bytes[i] = static_cast<std::byte>(i);
    const std::vector<std::byte> before = matrix.bytes;
    const at::Tensor weight = at::from_blob(matrix.bytes.data(), {1, row_bytes(format, 544)}, at::kByte);
    const at::Tensor found = dequantised_tensor(weight, format, 544, 0, 1);
    for (dim i = 0; i < 544; ++i) CHECK(found[0][i].item<float>() == matrix.view.value(0, i));
    CHECK((matrix.bytes == before));
  }
}
