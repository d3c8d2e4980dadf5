#pragma once

#include <c10/core/Device.h>

#include <string>

#include "lisa/model/precision.hpp"

namespace lisa {

/// Where a model's parts come from and how they are held.
struct LoadOptions {
  /// CLIP's folder. Empty: the tower's weights inside the checkpoint, or the folder that config.json names, looked up
  /// in the checkpoint's folder and then from the current one.
  std::string vision_tower{};
  std::string sam{};          ///< SAM's own .pth, for base weights without it
  std::string adapter{};      ///< PEFT folder with a LoRA adapter
  bool merge_adapter = true;  ///< fold the adapter into the weights; else it is computed beside them
  Precision precision = Precision::stored;
  /// Compute SAM's dense positional encoding in fp32 whatever the dtype. By default it is computed in the mask
  /// decoder's dtype as the original does, which in bf16 rounds its arguments; checkpoints were trained and used that
  /// way.
  bool fp32_positional_encoding = false;
  c10::Device device = c10::DeviceType::CPU;
  bool verify_crc = true;     ///< compare the records of .bin files with their CRC-32
  bool check_finite = false;  ///< refuse NaN and infinite weights
};

}  // namespace lisa
