# The shared library of the C ABI, and what is installed with it: headers, CMake package, pkg-config file, the TensorFlow
# Lite runtime and the models. In a wheel all of it stands in the package's own folder; nothing in it names a place, so
# that the folder can be moved.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

if(LINKCAST_BUILD_PYTHON)
  set(_libdir linkcast)
  set(_includedir linkcast/include)
  set(_cmakedir linkcast/cmake)
  set(_pkgconfigdir linkcast/pkgconfig)
  set(_datadir linkcast)
else()
  set(_libdir "${CMAKE_INSTALL_LIBDIR}")
  set(_includedir "${CMAKE_INSTALL_INCLUDEDIR}")
  set(_cmakedir "${CMAKE_INSTALL_LIBDIR}/cmake/linkcast")
  set(_pkgconfigdir "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
  set(_datadir "${CMAKE_INSTALL_DATADIR}/linkcast")
endif()

file(STRINGS cpp/include/linkcast/linkcast.h _version REGEX "#define LINKCAST_VERSION \"")
if(NOT _version MATCHES "\"${PROJECT_VERSION}\"")
  message(FATAL_ERROR "cpp/include/linkcast/linkcast.h: expected version ${PROJECT_VERSION}, got: ${_version}")
endif()

set(_exports "${CMAKE_CURRENT_SOURCE_DIR}/cpp/src/c_api/exports.map")
add_library(linkcast SHARED
  cpp/src/c_api/bundle.cpp
  cpp/src/c_api/compression.cpp
  cpp/src/c_api/controller.cpp
  cpp/src/c_api/engine.cpp
  cpp/src/c_api/handles.cpp
  cpp/src/c_api/route.cpp
  cpp/src/c_api/status.cpp
  cpp/src/c_api/stream.cpp)
target_include_directories(linkcast PUBLIC
  "$<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/cpp/include>"
  "$<INSTALL_INTERFACE:${_includedir}>")
target_link_libraries(linkcast PRIVATE linkcast_core)
target_link_options(linkcast PRIVATE "LINKER:--version-script=${_exports}" LINKER:--gc-sections)
set_target_properties(linkcast PROPERTIES INSTALL_RPATH "$ORIGIN" LINK_DEPENDS "${_exports}")
if(NOT LINKCAST_BUILD_PYTHON)  # a wheel holds no symbolic links
  set_target_properties(linkcast PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR})
endif()

install(TARGETS linkcast EXPORT linkcast-targets LIBRARY DESTINATION "${_libdir}")
install(FILES cpp/include/linkcast/linkcast.h cpp/include/linkcast/linkcast.hpp DESTINATION "${_includedir}/linkcast")
install(EXPORT linkcast-targets NAMESPACE linkcast:: DESTINATION "${_cmakedir}")
configure_package_config_file(cmake/linkcast-config.cmake.in linkcast-config.cmake INSTALL_DESTINATION "${_cmakedir}")
write_basic_package_version_file(linkcast-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/linkcast-config.cmake"
              "${CMAKE_CURRENT_BINARY_DIR}/linkcast-config-version.cmake"
        DESTINATION "${_cmakedir}")

# Paths relative to the .pc file's own folder.
set(_root "/prefix")
file(RELATIVE_PATH LINKCAST_PC_PREFIX "${_root}/${_pkgconfigdir}" "${_root}")
string(REGEX REPLACE "/$" "" LINKCAST_PC_PREFIX "${LINKCAST_PC_PREFIX}")
set(LINKCAST_PC_LIBDIR "${_libdir}")
set(LINKCAST_PC_INCLUDEDIR "${_includedir}")
configure_file(cmake/linkcast.pc.in linkcast.pc @ONLY)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/linkcast.pc" DESTINATION "${_pkgconfigdir}")

install(FILES "${TensorFlowLiteC_LIBRARY}" DESTINATION "${_libdir}" RENAME libtensorflowlite_c.so)
if(TensorFlowLiteC_LICENSE)
  install(FILES "${TensorFlowLiteC_LICENSE}" DESTINATION "${_datadir}" RENAME libtensorflowlite_c.LICENSE)
endif()
install(DIRECTORY models metadata DESTINATION "${_datadir}")

# The bill of materials: in a wheel where PEP 770 has it.
if(TensorFlowLiteC_KNOWN)
  set(_sbom_version 2.17.1)
  set(_sbom_supplier "pymicro-wakeword 2.5.0")
  set(_sbom_purl "pkg:github/tensorflow/tensorflow@v2.17.1")
else()
  set(_sbom_version unknown)
  set(_sbom_supplier "whoever built it: LINKCAST_TFLITE_LIBRARY names another one than linkcast knows")
  set(_sbom_purl "pkg:github/tensorflow/tensorflow")
endif()
configure_file(packaging/sbom.cdx.json.in linkcast.cdx.json @ONLY)
if(SKBUILD_METADATA_DIR)
  set(_sbomdir "${SKBUILD_METADATA_DIR}/sboms")
else()
  set(_sbomdir "${_datadir}/sboms")
endif()
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/linkcast.cdx.json" DESTINATION "${_sbomdir}")
