#pragma once

/// The whole library: link `lisa::io`. Parts of it can be included and linked on their own, see docs/architecture.md.

#include "lisa/base/error.hpp"
#include "lisa/checkpoint/archive.hpp"
#include "lisa/checkpoint/save.hpp"
#include "lisa/config/presets.hpp"
#include "lisa/image/mask_json.hpp"
#include "lisa/image/overlay.hpp"
#include "lisa/image/read_image.hpp"
#include "lisa/image/write_png.hpp"
#include "lisa/model/lisa_model.hpp"
#include "lisa/model/load.hpp"
#include "lisa/model/predictor.hpp"
#include "lisa/version.hpp"
