// A module that is loaded for its effect alone: media-chrome defines its elements.
declare module 'media-chrome';
