// Where a bundle's folder is when nobody names one.
#pragma once

#include <string>

namespace linkcast {

/// $LINKCAST_BUNDLE; or else the folder of the library that holds this code, or share/linkcast beside it. @throws
/// LoadError  neither is there
std::string default_folder();

}  // namespace linkcast
